//! The commands, as they come from a client, with rooms and their members in memory.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::commands::described;
use super::{Denied, Doorkeeper, frames, start};
use crate::config::DEFAULT_TOML;
use crate::delivery::mailbox::{Bounds, Mailbox};
use crate::delivery::reconcile::BrokerHealth;
use crate::delivery::rooms::notice::{RoomNotice, RoomResyncReason, UnsubscribedReason};
use crate::delivery::rooms::{Parts, Replay, RoomError, RoomFrame, RoomLog, Rooms};
use crate::domain::clock::SystemClock;
use crate::domain::ids::{ChannelId, NodeId, SessionId, UserId};
use crate::edge::ws::{Answer, Call, Handler};
use crate::ports::broker::{MemoryBroker, MemoryBus};
use crate::ports::presence::MemoryPresence;
use crate::shutdown::Shutdown;

const PATIENCE: Duration = Duration::from_secs(20);
const PAGE: &str = include_str!("../../../docs/protocol.md");

/// Members are whoever is in it, of every room; nothing was ever said.
struct Club {
    members: BTreeSet<UserId>,
    /// Of no room it can be said where it is.
    is_silent: bool,
}

#[async_trait]
impl Doorkeeper for Club {
    async fn may_subscribe(&self, user: UserId, _: ChannelId) -> Result<(), Denied> {
        if self.members.contains(&user) { Ok(()) } else { Err(Denied::Hidden) }
    }

    async fn may_type(&self, user: UserId, _: ChannelId) -> Result<(), Denied> {
        if self.members.contains(&user) { Ok(()) } else { Err(Denied::Forbidden) }
    }
}

#[async_trait]
impl RoomLog for Club {
    async fn after_revision(&self, _: ChannelId, _: i64, _: i64) -> Result<Vec<RoomFrame>, RoomError> {
        Ok(Vec::new())
    }

    async fn since(&self, _: ChannelId, _: i64, _: i64) -> Result<Replay, RoomError> {
        Ok(Replay { messages: Vec::new(), head: crate::delivery::rooms::Head { seq: 3, revision: 5 } })
    }

    async fn heads(&self, rooms: &[ChannelId]) -> Result<Vec<(ChannelId, i64, i64)>, RoomError> {
        if self.is_silent {
            return pending().await;
        }
        Ok(rooms.iter().map(|room| (*room, 3, 5)).collect())
    }

    async fn members(&self, _: ChannelId, among: &[UserId]) -> Result<Vec<UserId>, RoomError> {
        Ok(among.iter().copied().filter(|user| self.members.contains(user)).collect())
    }
}

struct World {
    handler: Arc<dyn Handler>,
    rooms: Rooms,
    shutdown: Shutdown,
}

impl World {
    fn new(members: &[UserId]) -> Self {
        Self::of(Club { members: members.iter().copied().collect(), is_silent: false })
    }

    fn of(club: Club) -> Self {
        #[derive(Deserialize)]
        struct Defaults {
            delivery: crate::delivery::Config,
        }
        let config = toml::from_str::<Defaults>(DEFAULT_TOML).unwrap().delivery.rooms;
        let (node, shutdown) = (NodeId::generate(), Shutdown::new());
        let presence = Arc::<MemoryPresence>::default();
        let topics = Arc::new(MemoryBroker::new(Arc::<MemoryBus>::default(), presence, node));
        let club = Arc::new(club);
        let health = Arc::new(BrokerHealth::default());
        let parts = Parts { node, config, log: Arc::clone(&club) as _, topics, health };
        let rooms = Rooms::start(parts, &shutdown);
        let handler = start(rooms.clone(), club, Arc::new(SystemClock), &shutdown);
        Self { handler, rooms, shutdown }
    }

    async fn say(&self, mailbox: &Arc<Mailbox>, command: &Value) -> Option<Value> {
        let names = self.handler.names();
        let name = names.iter().find(|name| command["type"] == **name).expect("it is a command");
        let call = Call::new(mailbox, name, command.to_string());
        let frame = match self.handler.handle(&call).await {
            Ok(Answer::Frame(frame)) => frame,
            Ok(Answer::Given) => return None,
            Err(refusal) => call.refused(refusal),
        };
        Some(read(&frame))
    }

    async fn joined(&self, user: UserId, room: ChannelId) -> Arc<Mailbox> {
        let mailbox = mailbox(user);
        assert_eq!(self.say(&mailbox, &json!({"type": "SUBSCRIBE", "channelId": room})).await, None);
        let greeting = json!({"type": "OK", "channelId": room, "seq": 3, "revision": 5});
        assert_eq!(next(&mailbox).await, greeting);
        mailbox
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

fn mailbox(user: UserId) -> Arc<Mailbox> {
    let bounds = Bounds { frames_max: 100, bytes_max: 100_000 };
    Arc::new(Mailbox::new(user, SessionId::generate(), None, bounds))
}

fn read(frame: &[u8]) -> Value {
    let header = if frame[1] < 126 { 2 } else { 4 };
    serde_json::from_slice(&frame[header..]).unwrap()
}

/// The next frame, which is alone.
async fn next(mailbox: &Mailbox) -> Value {
    let mail = timeout(PATIENCE, mailbox.collect()).await.expect("a frame comes");
    assert_eq!(mail.notices.len(), 1, "{mail:?}");
    read(&mail.notices[0].frame)
}

#[tokio::test]
async fn a_member_subscribes_and_unsubscribes() {
    let (user, room) = (UserId::generate(), ChannelId::generate());
    let world = World::new(&[user]);
    let mailbox = mailbox(user);
    for since in [json!({"since": 3}), json!({"revision": 5}), json!({"since": null}), json!({})] {
        let mut command = json!({"type": "SUBSCRIBE", "channel_id": room, "ref": [1]});
        command.as_object_mut().unwrap().extend(since.as_object().unwrap().clone());
        assert_eq!(world.say(&mailbox, &command).await, None);
        let greeting = json!({"type": "OK", "ref": [1], "channelId": room, "seq": 3, "revision": 5});
        assert_eq!(next(&mailbox).await, greeting);
    }
    assert_eq!(world.rooms.len(), 1);

    for _ in 0..2 {
        let answer = world.say(&mailbox, &json!({"type": "UNSUBSCRIBE", "channelId": room})).await;
        assert_eq!(answer, Some(json!({"type": "OK", "channelId": room})));
    }
    assert!(world.rooms.is_empty());
}

#[tokio::test]
async fn a_stranger_is_refused_and_learns_nothing() {
    let (stranger, room) = (UserId::generate(), ChannelId::generate());
    let world = World::new(&[]);
    for (command, code) in [
        (json!({"type": "SUBSCRIBE", "channelId": room}), "not_found"),
        (json!({"type": "TYPING", "channelId": room, "isTyping": true}), "forbidden"),
    ] {
        let answer = world.say(&mailbox(stranger), &command).await.unwrap();
        assert_eq!((&answer["type"], &answer["code"]), (&json!("ERROR"), &json!(code)));
    }
    assert!(world.rooms.is_empty());
}

#[tokio::test]
async fn who_subscribes_while_postgres_says_nothing_is_answered_and_keeps_no_seat() {
    let (user, room) = (UserId::generate(), ChannelId::generate());
    let world = World::of(Club { members: BTreeSet::from([user]), is_silent: true });
    let command = json!({"type": "SUBSCRIBE", "channelId": room, "revision": 5, "ref": 1});
    let mailbox = mailbox(user);

    let answer = timeout(PATIENCE, world.say(&mailbox, &command)).await.expect("it is answered").unwrap();

    assert_eq!((&answer["code"], &answer["ref"]), (&json!("unavailable"), &json!(1)), "{answer}");
    assert!(answer["retryAfterMs"].is_u64(), "{answer}");
    assert!(world.rooms.is_empty());
}

#[tokio::test]
async fn fields_that_are_wrong_are_named() {
    let (user, room) = (UserId::generate(), ChannelId::generate());
    let world = World::new(&[user]);
    for (command, field) in [
        (json!({"type": "SUBSCRIBE"}), "channelId"),
        (json!({"type": "SUBSCRIBE", "channelId": "general"}), "channelId"),
        (json!({"type": "SUBSCRIBE", "channelId": room, "since": "1"}), "since"),
        (json!({"type": "SUBSCRIBE", "channelId": room, "since": -1}), "since"),
        (json!({"type": "SUBSCRIBE", "channelId": room, "revision": -1}), "revision"),
        (json!({"type": "SUBSCRIBE", "channelId": room, "revision": 1, "since": 1}), "since"),
        (json!({"type": "UNSUBSCRIBE", "channelId": null}), "channelId"),
        (json!({"type": "TYPING", "channelId": room}), "isTyping"),
        (json!({"type": "TYPING", "channelId": room, "isTyping": 1}), "isTyping"),
    ] {
        let answer = world.say(&mailbox(user), &command).await.unwrap();
        assert_eq!(answer["code"], "invalid_command", "{command}");
        assert!(answer["message"].as_str().unwrap().contains(field), "{answer}");
    }
}

#[tokio::test]
async fn typing_is_told_to_the_others_until_the_connection_ends() {
    let ([typist, other], room) = ([(); 2].map(|()| UserId::generate()), ChannelId::generate());
    let world = World::new(&[typist, other]);
    let (own, theirs) = (world.joined(typist, room).await, world.joined(other, room).await);
    let says = |is_typing: bool| json!({"type": "TYPING", "channelId": room, "isTyping": is_typing});
    let mut typing = Vec::new();

    assert_eq!(world.say(&own, &says(true)).await, None);
    typing.push(next(&theirs).await);
    // Throttled; who asks is answered.
    let asked = json!({"type": "TYPING", "channelId": room, "isTyping": true, "ref": 1});
    assert_eq!(world.say(&own, &asked).await, Some(json!({"type": "OK", "ref": 1})));
    world.handler.ended(&own);
    typing.push(next(&theirs).await);

    for (frame, is_typing) in typing.iter().zip([true, false]) {
        let timestamp = &frame["timestamp"];
        assert!(timestamp.is_i64());
        let expected = json!({
            "type": "TYPING", "channelId": room, "userId": typist, "isTyping": is_typing, "timestamp": timestamp
        });
        assert_eq!(*frame, expected);
    }
    assert_eq!(world.say(&own, &says(false)).await, None, "nobody thinks otherwise");
}

/// The examples of the page, without those of other sections.
fn examples() -> Vec<Value> {
    let section = PAGE.split("\n## Rooms\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with("{\"type\":"));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn fields(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn the_page_says_what_clients_and_the_server_say() {
    let user = UserId::generate();
    let world = World::new(&[user]);
    let room = ChannelId(uuid::Uuid::nil());
    let notices = [
        RoomNotice::RoomResync {
            channel_id: room,
            reason: RoomResyncReason::TooFarBehind,
            from_seq: 1,
            revision: 1,
        },
        RoomNotice::Unsubscribed { channel_id: room, reason: UnsubscribedReason::Removed },
    ];
    let mut told: Vec<Value> = notices.iter().map(|notice| serde_json::to_value(notice).unwrap()).collect();
    told.extend(frames().iter().map(|frame| serde_json::to_value(frame).unwrap()));
    let mut documented = BTreeSet::new();
    for example in examples() {
        let kind = example["type"].as_str().unwrap();
        let is_told = told.iter().any(|frame| frame["type"] == kind && fields(frame) == fields(&example));
        let is_command = world.handler.names().contains(&kind) && !example["userId"].is_string();
        if is_command {
            let answer = world.say(&mailbox(user), &example).await;
            assert!(answer.is_none_or(|answer| answer["type"] == "OK"), "{example}");
        }
        assert!(is_told || is_command || kind == "OK", "{example}");
        documented.insert(kind.to_owned());
    }
    let commands = described().into_iter().map(|(example, _)| example);
    for known in told.into_iter().chain(commands) {
        assert!(documented.contains(known["type"].as_str().unwrap()), "{known}");
    }
    for reason in
        [RoomResyncReason::TooFarBehind, RoomResyncReason::AheadOfServer, RoomResyncReason::AnotherPast]
    {
        assert!(PAGE.contains(&format!("`{}`", reason.as_str())));
    }
}
