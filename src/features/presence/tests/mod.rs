//! Presence on several nodes over a real Postgres; what nodes do by themselves, tests do by hand, so that nothing waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::commands::Commands;
use super::vouching::Vouching;
use super::watching::Heard;
use super::{Config, Parts, Service, Shared, looking};
use crate::config::DEFAULT_TOML;
use crate::db::PgPool;
use crate::delivery::device_tokens::NoDevices;
use crate::delivery::fallback::Fallback;
use crate::delivery::mailbox::{Bounds, Mailbox};
use crate::delivery::membership::{Control, Membership};
use crate::delivery::registry::Registry;
use crate::dev::testing;
use crate::domain::ids::{NodeId, SessionId, UserId};
use crate::domain::standing::Standing;
use crate::edge::ws::{Answer, Call, Handler as _};
use crate::ports::broker::{Broker as _, Incoming, Listener, MemoryBroker, MemoryBus};
use crate::ports::presence::marks::{Mark, Marks as _, MemoryMarks};
use crate::ports::presence::{MemoryPresence, Presence as _};
use crate::ports::push::DisabledPush;
use crate::shutdown::Shutdown;

mod away;
mod documented;
mod looking_closely;
mod ports;
mod storm;
mod transitions;
mod watching;

use ports::{Mood, Moody, Recorder};

pub struct World {
    pub pool: PgPool,
    config: Config,
    bus: Arc<MemoryBus>,
    presence: Arc<MemoryPresence>,
    marks: Arc<Moody>,
    mood: Arc<Mutex<Mood>>,
    loses: Arc<AtomicBool>,
    said: Arc<Mutex<Vec<Standing>>>,
    vouching: Mutex<Vec<Arc<tokio::sync::Mutex<Vouching>>>>,
    shutdown: Shutdown,
}

pub struct Node {
    id: NodeId,
    shared: Arc<Shared>,
    commands: Commands,
    vouching: Arc<tokio::sync::Mutex<Vouching>>,
    heard: Mutex<mpsc::Receiver<Heard>>,
    listening: Shutdown,
}

#[derive(Deserialize)]
struct Defaults {
    delivery: crate::delivery::Config,
    presence: Config,
}

impl World {
    pub async fn new() -> Self {
        let presence = Arc::<MemoryPresence>::default();
        let mood = Arc::new(Mutex::new(Mood::Well));
        let marks = MemoryMarks::new(Arc::clone(&presence));
        Self {
            pool: testing::database().await,
            config: toml::from_str::<Defaults>(DEFAULT_TOML).unwrap().presence,
            bus: Arc::default(),
            presence,
            marks: Arc::new(Moody {
                marks,
                asked: AtomicUsize::new(0),
                mood: Arc::clone(&mood),
                batches: Mutex::default(),
                meanwhile: Mutex::default(),
            }),
            mood,
            loses: Arc::default(),
            said: Arc::default(),
            vouching: Mutex::default(),
            shutdown: Shutdown::new(),
        }
    }

    pub async fn nodes<const N: usize>() -> (Self, [Node; N]) {
        let world = Self::new().await;
        let mut nodes = Vec::new();
        for _ in 0..N {
            nodes.push(world.node().await);
        }
        (world, nodes.try_into().ok().unwrap())
    }

    pub async fn node(&self) -> Node {
        let (id, listening) = (NodeId::generate(), Shutdown::new());
        let broker = Arc::new(Recorder {
            broker: MemoryBroker::new(Arc::clone(&self.bus), Arc::clone(&self.presence), id),
            loses: Arc::clone(&self.loses),
            said: Arc::clone(&self.said),
        });
        let delivery = toml::from_str::<Defaults>(DEFAULT_TOML).unwrap().delivery;
        let fallback = Fallback::start(
            self.pool.clone(),
            &delivery,
            Arc::new(NoDevices),
            Arc::new(DisabledPush),
            &self.shutdown,
        );
        let registry = Arc::new(Registry::default());
        let membership = Membership::new(
            id,
            Arc::clone(&registry),
            Arc::clone(&self.presence) as _,
            Arc::clone(&broker) as _,
            Arc::default(),
            fallback,
        );
        let (shared, heard) = Shared::new(Parts {
            node: id,
            config: self.config.clone(),
            pool: self.pool.clone(),
            background: self.pool.clone(),
            registry,
            membership,
            presence: Arc::clone(&self.presence) as _,
            marks: Arc::clone(&self.marks) as _,
            health: Arc::default(),
        });
        self.presence.renew_lease(id).await.unwrap();
        let service = Arc::new(Service { shared: Arc::clone(&shared) });
        let commands = Commands { service: Arc::clone(&service) };
        let listener: Listener = Arc::new(move |incoming| {
            if let Incoming::Control(message) = incoming
                && let Ok(Control::PresenceChanged { standings }) = serde_json::from_slice(&message)
            {
                service.hear(standings);
            }
        });
        let (stop, ears) = (listening.clone(), Arc::clone(&broker));
        listening.spawn("test", async move {
            stop.unless_stopped(ears.listen(listener)).await;
        });
        while broker.probe().await.is_err() {
            tokio::task::yield_now().await;
        }
        let vouching = Arc::new(tokio::sync::Mutex::new(Vouching::new(Arc::clone(&shared))));
        self.vouching.lock().push(Arc::clone(&vouching));
        Node { id, shared, commands, vouching, heard: Mutex::new(heard), listening }
    }

    /// As if the node's process was gone.
    pub async fn kill(&self, node: Node) {
        node.listening.stop();
        assert!(node.listening.finished(Duration::from_secs(20)).await);
        self.presence.release_lease(node.id).await.unwrap();
    }

    pub async fn user(&self) -> UserId {
        testing::user(&self.pool).await
    }

    /// A private channel of these people.
    pub async fn channel(&self, people: &[UserId]) -> uuid::Uuid {
        let channel = uuid::Uuid::now_v7();
        sqlx::query(
            "INSERT INTO channels (id, kind, name, is_private, created_by, created_at, updated_at)
             VALUES ($1, 'channel', $1::text, true, $2, now(), now())",
        )
        .bind(channel)
        .bind(people[0].0)
        .execute(&self.pool)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO channel_members (channel_id, user_id, role, joined_at)
             SELECT $1, id, CASE WHEN id = $3 THEN 'owner' ELSE 'member' END, now() FROM unnest($2::uuid[]) AS id",
        )
        .bind(channel)
        .bind(people.iter().map(|user| user.0).collect::<Vec<_>>())
        .bind(people[0].0)
        .execute(&self.pool)
        .await
        .unwrap();
        channel
    }

    /// Two people who share a channel.
    pub async fn two(&self) -> [UserId; 2] {
        let people = [self.user().await, self.user().await];
        self.channel(&people).await;
        people
    }

    /// So much time goes by for those who left, and those who are to be looked at.
    pub async fn pass(&self, seconds: f64) {
        let time = Duration::from_secs_f64(seconds);
        self.marks.marks.let_pass(time);
        let all = self.vouching.lock().clone();
        for vouching in all {
            vouching.lock().await.let_pass(time);
        }
        sqlx::query("UPDATE user_presence SET look_at = look_at - make_interval(secs => $1) WHERE look_at IS NOT NULL")
            .bind(seconds)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// How the user stands, as Postgres knows it.
    pub async fn standing(&self, user: UserId) -> (String, i64) {
        let row = "SELECT status, revision FROM user_presence WHERE user_id = $1";
        let found = sqlx::query_as(row).bind(user.0).fetch_optional(&self.pool).await.unwrap();
        found.unwrap_or_else(|| ("none".to_owned(), 0))
    }

    /// The transitions of a user that were told, in the order in which they were made.
    pub fn said_of(&self, user: UserId) -> Vec<String> {
        let mut said: Vec<Standing> =
            self.said.lock().iter().filter(|standing| standing.user == user).copied().collect();
        said.sort_by_key(|standing| standing.revision);
        let revisions: Vec<i64> = said.iter().map(|standing| standing.revision).collect();
        assert_eq!(revisions, (1..).take(said.len()).collect::<Vec<i64>>(), "each once, and none is missing");
        said.iter().map(|standing| standing.availability.as_str().to_owned()).collect()
    }

    fn set_mood(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

impl Node {
    pub async fn open(&self, user: UserId) -> Arc<Mailbox> {
        let bounds = Bounds { frames_max: 100, bytes_max: 100_000 };
        self.open_within(user, bounds).await
    }

    pub async fn open_within(&self, user: UserId, bounds: Bounds) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::new(user, SessionId::generate(), None, bounds));
        self.shared.parts.membership.enter(&mailbox, usize::MAX).await.unwrap();
        mailbox
    }

    pub async fn close(&self, mailbox: &Arc<Mailbox>) {
        self.shared.parts.membership.leave(mailbox).await;
        self.commands.ended(mailbox);
    }

    /// What a client is answered at once; what `WATCH` answers is in the mailbox.
    pub async fn say(&self, mailbox: &Arc<Mailbox>, command: &Value) -> Option<Value> {
        let name = self.commands.names().iter().find(|name| command["type"] == **name).unwrap();
        let call = Call::new(mailbox, name, command.to_string());
        match self.commands.handle(&call).await {
            Ok(Answer::Frame(frame)) => Some(read(&frame)),
            Ok(Answer::Given) => None,
            Err(refusal) => Some(read(&call.refused(refusal))),
        }
    }

    pub async fn watch(&self, mailbox: &Arc<Mailbox>, users: &[UserId]) -> Value {
        assert_eq!(self.say(mailbox, &json!({"type": "WATCH", "userIds": users})).await, None);
        let answer = frames(mailbox).pop().unwrap();
        assert_eq!(answer["type"], "OK");
        answer["presence"].clone()
    }

    pub async fn flush(&self) -> bool {
        self.vouching.lock().await.flush(self.shared.parts.config.grace()).await
    }

    pub async fn look(&self) {
        looking::look(&self.shared).await.unwrap();
    }

    pub async fn sweep(&self) {
        looking::sweep(&self.shared).await.unwrap();
    }

    /// Tells what was heard so far.
    pub async fn tell(&self) {
        loop {
            let heard = self.heard.lock().try_recv();
            let Ok(heard) = heard else { return };
            self.shared.watching.take_in(heard).await;
        }
    }
}

/// All nodes do what there is to do, until nothing is left.
pub async fn settle(nodes: &[&Node]) {
    for _ in 0..4 {
        for node in nodes {
            node.flush().await;
            node.look().await;
        }
    }
    for node in nodes {
        node.tell().await;
    }
}

/// What a client has been told since the last time.
pub fn frames(mailbox: &Mailbox) -> Vec<Value> {
    let mail = mailbox.collect().now_or_never();
    mail.map(|mail| mail.notices.iter().map(|notice| read(&notice.frame)).collect()).unwrap_or_default()
}

/// Of whom, and what.
pub fn told(mailbox: &Mailbox) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |frame: &Value| {
        assert_eq!(frame["type"], "PRESENCE_CHANGED");
        (text(&frame["userId"]), text(&frame["status"]))
    };
    frames(mailbox).iter().map(of).collect()
}

pub fn change(user: UserId, status: &str) -> (String, String) {
    (user.to_string(), status.to_owned())
}

fn read(frame: &[u8]) -> Value {
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    serde_json::from_slice(&frame[header..]).unwrap()
}
