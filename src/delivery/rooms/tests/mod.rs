//! Rooms on several nodes, with a broker and a log in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Config, Head, JoinError, Parts, Replay, RoomError, RoomFrame, RoomLog, Rooms, Since, TopicNews};
use crate::config::DEFAULT_TOML;
use crate::delivery::budget::{Budget, Share};
use crate::delivery::event::text_frame;
use crate::delivery::mailbox::{Bounds, Farewell, Mailbox};
use crate::delivery::reconcile::BrokerHealth;
use crate::domain::ids::{ChannelId, NodeId, SessionId, UserId};
use crate::ports::broker::{Broker as _, Incoming, MemoryBroker, MemoryBus, Topics};
use crate::ports::presence::MemoryPresence;
use crate::shutdown::Shutdown;

mod expelling;
mod joining;
mod storm;
mod telling;

const PATIENCE: Duration = Duration::from_secs(20);
const BOUNDS: Bounds = Bounds { frames_max: 256, bytes_max: 262_144 };

/// A cluster without sockets.
pub struct World {
    bus: Arc<MemoryBus>,
    pub log: Arc<MemoryLog>,
    config: Config,
    shutdown: Shutdown,
}

/// Its rooms are compared only when something is doubtful.
pub struct Node {
    pub rooms: Rooms,
    broker: Arc<MemoryBroker>,
    listening: Mutex<Shutdown>,
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        #[derive(Deserialize)]
        struct Defaults {
            delivery: crate::delivery::Config,
        }
        let mut config = toml::from_str::<Defaults>(DEFAULT_TOML).unwrap().delivery.rooms;
        config.gap_grace_ms = 5;
        config.compare_interval_ms = 3_600_000;
        change(&mut config);
        Self { bus: Arc::default(), log: Arc::default(), config, shutdown: Shutdown::new() }
    }

    pub async fn node(&self) -> Node {
        self.node_through(|broker| broker as _).await
    }

    pub async fn node_through(&self, topics: impl Fn(Arc<MemoryBroker>) -> Arc<dyn Topics>) -> Node {
        let node = NodeId::generate();
        let broker = MemoryBroker::new(Arc::clone(&self.bus), Arc::<MemoryPresence>::default(), node);
        let broker = Arc::new(broker);
        let health = Arc::new(BrokerHealth::default());
        health.set(true);
        let parts = Parts {
            node,
            config: self.config.clone(),
            log: Arc::clone(&self.log) as _,
            topics: topics(Arc::clone(&broker)),
            health,
        };
        let rooms = Rooms::start(parts, &self.shutdown);
        let node = Node { rooms, broker, listening: Mutex::new(Shutdown::new()) };
        node.listen().await;
        node
    }

    /// A room with these members.
    pub fn room(&self, members: &[UserId]) -> ChannelId {
        let room = ChannelId::generate();
        let state = LoggedRoom { members: members.iter().copied().collect(), ..LoggedRoom::default() };
        self.log.rooms.lock().insert(room, state);
        room
    }

    /// A client of one of the nodes, which reads all that it gets.
    pub fn client(&self, user: UserId) -> Client {
        let mailbox = Arc::new(mailbox(user));
        let heard = watch::Sender::new(Vec::new());
        let client = Client { mailbox: Arc::clone(&mailbox), heard: heard.clone() };
        self.shutdown.spawn_light(async move {
            loop {
                let mail = mailbox.collect().await;
                let frames: Vec<Value> = mail.notices.iter().map(|notice| read(&notice.frame)).collect();
                heard.send_modify(|heard| heard.extend(frames));
                if mail.farewell.is_some() {
                    return;
                }
            }
        });
        client
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

impl Node {
    /// Hears the others from now on.
    pub async fn listen(&self) {
        let listening = Shutdown::new();
        let (broker, stop, tell) = (Arc::clone(&self.broker), listening.clone(), self.rooms.listener());
        listening.spawn("test.listen", async move {
            let listener = Arc::new(move |incoming| match incoming {
                Incoming::Topic(room, message) => tell(TopicNews::Said(room, message)),
                Incoming::Subscribed => tell(TopicNews::Interrupted),
                other => panic!("{other:?}"),
            });
            stop.unless_stopped(broker.listen(listener)).await;
        });
        while self.broker.probe().await.is_err() {
            tokio::task::yield_now().await;
        }
        *self.listening.lock() = listening;
    }

    pub async fn stop_listening(&self) {
        let listening = self.listening.lock().clone();
        listening.stop();
        assert!(listening.finished(PATIENCE).await);
    }

    pub async fn subscribe(&self, client: &Client, room: ChannelId, since: Since) -> Result<(), JoinError> {
        let greeting = |Head { seq, revision }: Head| {
            frame(&json!({"type": "OK", "room": room, "seq": seq, "revision": revision}))
        };
        self.rooms.subscribe(&client.mailbox, room, since, &greeting).await
    }

    /// A client that has joined.
    pub async fn joined(&self, world: &World, user: UserId, room: ChannelId) -> Client {
        let client = world.client(user);
        self.subscribe(&client, room, Since::Now).await.unwrap();
        client
    }

    /// Compares with the log at once.
    pub fn doubt(&self, room: ChannelId) {
        self.rooms.0.doubt(&[room]);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.listening.lock().stop();
    }
}

pub struct Client {
    pub mailbox: Arc<Mailbox>,
    heard: watch::Sender<Vec<Value>>,
}

impl Client {
    /// All frames so far, once this holds.
    pub async fn until_heard(&self, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut heard = self.heard.subscribe();
        let heard = heard.wait_for(|heard| holds(heard));
        let heard = tokio::time::timeout(PATIENCE, heard).await;
        heard.unwrap_or_else(|elapsed| panic!("{elapsed}: only heard {:?}", self.heard())).unwrap().clone()
    }

    /// All frames so far, once one is there for which this holds.
    pub async fn until(&self, holds: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.until_heard(|heard| heard.iter().any(&holds)).await
    }

    pub async fn until_type(&self, kind: &str) -> Vec<Value> {
        self.until(|frame| frame["type"] == kind).await
    }

    /// The revisions of all changes so far, up to this one.
    pub async fn until_revision(&self, revision: i64) -> Vec<i64> {
        revisions(&self.until(|frame| is_change(frame) && frame["revision"] == revision).await)
    }

    pub fn heard(&self) -> Vec<Value> {
        self.heard.borrow().clone()
    }
}

pub fn mailbox(user: UserId) -> Mailbox {
    Mailbox::new(user, SessionId::generate(), None, BOUNDS)
}

fn is_change(frame: &Value) -> bool {
    frame["type"].as_str().is_some_and(|kind| kind.starts_with("MESSAGE_"))
}

pub fn revisions(frames: &[Value]) -> Vec<i64> {
    frames.iter().filter(|it| is_change(it)).map(|it| it["revision"].as_i64().unwrap()).collect()
}

pub fn frame(value: &Value) -> Bytes {
    text_frame(&value.to_string())
}

fn read(frame: &Bytes) -> Value {
    let header = if frame[1] < 126 { 2 } else { 4 };
    serde_json::from_slice(&frame[header..]).unwrap()
}

/// What Postgres would know.
#[derive(Default)]
pub struct MemoryLog {
    rooms: Mutex<HashMap<ChannelId, LoggedRoom>>,
    /// Happens once, right after something was read.
    after_read: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// So many reads fail.
    pub failing: AtomicUsize,
}

#[derive(Clone, Default)]
struct LoggedRoom {
    members: BTreeSet<UserId>,
    /// By seq: the last revision, and the frame that tells it.
    messages: BTreeMap<i64, (i64, RoomFrame)>,
    head: Head,
}

impl MemoryLog {
    /// A new message.
    pub fn send(&self, room: ChannelId) -> RoomFrame {
        let mut rooms = self.rooms.lock();
        let state = rooms.get_mut(&room).unwrap();
        state.head = Head { seq: state.head.seq + 1, revision: state.head.revision + 1 };
        state.write(room, state.head.seq, "MESSAGE_CREATED")
    }

    pub fn edit(&self, room: ChannelId, seq: i64) -> RoomFrame {
        let mut rooms = self.rooms.lock();
        let state = rooms.get_mut(&room).unwrap();
        state.head.revision += 1;
        state.write(room, seq, "MESSAGE_EDITED")
    }

    /// Returns the removal's revision.
    pub fn remove(&self, room: ChannelId, user: UserId) -> i64 {
        let mut rooms = self.rooms.lock();
        let state = rooms.get_mut(&room).unwrap();
        state.head.revision += 1;
        state.members.remove(&user);
        state.head.revision
    }

    pub fn add(&self, room: ChannelId, user: UserId) {
        self.rooms.lock().get_mut(&room).unwrap().members.insert(user);
    }

    /// As if the user had never come: no revision says so.
    pub fn forget(&self, room: ChannelId, user: UserId) {
        self.rooms.lock().get_mut(&room).unwrap().members.remove(&user);
    }

    pub fn delete(&self, room: ChannelId) {
        self.rooms.lock().remove(&room);
    }

    /// As if a standby took over without the last changes.
    pub fn lose(&self, room: ChannelId, head: Head) {
        let mut rooms = self.rooms.lock();
        let state = rooms.get_mut(&room).unwrap();
        state.head = head;
        state.messages.retain(|seq, (revision, _)| *seq <= head.seq && *revision <= head.revision);
    }

    pub fn after_next_read(&self, happens: impl FnOnce() + Send + 'static) {
        *self.after_read.lock() = Some(Box::new(happens));
    }

    fn fail(&self) -> Result<(), RoomError> {
        let left =
            self.failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map_or(Ok(()), |_| Err(RoomError::Unavailable("away".into())))
    }

    fn look<T>(&self, room: ChannelId, read: impl FnOnce(&LoggedRoom) -> T) -> Result<T, RoomError> {
        self.fail()?;
        let result = self.rooms.lock().get(&room).map(read).ok_or(RoomError::NoSuchRoom);
        let happens = self.after_read.lock().take();
        if let Some(happens) = happens {
            happens();
        }
        result
    }
}

impl LoggedRoom {
    fn write(&mut self, room: ChannelId, seq: i64, kind: &'static str) -> RoomFrame {
        let revision = self.head.revision;
        let text = json!({"type": kind, "room": room, "seq": seq, "revision": revision});
        let written = RoomFrame { room, revision, kind, frame: frame(&text) };
        self.messages.insert(seq, (revision, written.clone()));
        written
    }
}

#[async_trait]
impl RoomLog for MemoryLog {
    async fn after_revision(
        &self,
        room: ChannelId,
        revision: i64,
        limit: i64,
    ) -> Result<Vec<RoomFrame>, RoomError> {
        self.look(room, |state| {
            let mut changes: Vec<RoomFrame> =
                state.messages.values().filter(|(it, _)| *it > revision).map(|(_, it)| it.clone()).collect();
            changes.sort_by_key(|frame| frame.revision);
            changes.truncate(usize::try_from(limit).unwrap());
            changes
        })
    }

    async fn since(&self, room: ChannelId, since: i64, limit: i64) -> Result<Replay, RoomError> {
        self.look(room, |state| {
            let later = state.messages.range(since + 1..).take(usize::try_from(limit).unwrap());
            let messages = later.map(|(seq, (_, frame))| (*seq, frame.clone())).collect();
            Replay { messages, head: state.head }
        })
    }

    async fn heads(&self, rooms: &[ChannelId]) -> Result<Vec<(ChannelId, i64, i64)>, RoomError> {
        let mut heads = Vec::new();
        for room in rooms {
            match self.look(*room, |state| (*room, state.head.seq, state.head.revision)) {
                Ok(head) => heads.push(head),
                Err(RoomError::NoSuchRoom) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(heads)
    }

    async fn members(&self, room: ChannelId, among: &[UserId]) -> Result<Vec<UserId>, RoomError> {
        self.fail()?;
        let rooms = self.rooms.lock();
        let members = rooms.get(&room).map(|state| state.members.clone()).unwrap_or_default();
        Ok(among.iter().copied().filter(|user| members.contains(user)).collect())
    }
}
