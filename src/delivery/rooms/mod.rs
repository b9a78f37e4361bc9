//! How a change of a room reaches everybody who subscribes to it.
//!
//! A feature writes the change in its own transaction, with the room's next revision, and hands the finished frame to
//! [`Rooms::publish`]. It goes to the subscribers of this node, and in one message to each node that has some
//! ([`publishing`], [`subscriptions`]); there it waits in its [`room`] until its turn has come, and is left in the mailbox
//! of each subscriber ([`telling`]). Redis may lose any of it: a jump of the revisions is read from the [`log`], and the
//! loss of the last one is found by [`comparing`]. Who subscribes is told what it missed, and then what happens, without
//! gap or repetition ([`joining`]).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::delivery::mailbox::Mailbox;
use crate::delivery::reconcile::BrokerHealth;
use crate::domain::ids::{ChannelId, ConnectionId, NodeId, UserId};
use crate::ports::broker::Topics;
use crate::shutdown::Shutdown;

mod change;
mod comparing;
pub mod config;
mod decision;
mod gate;
mod hearing;
mod joining;
mod live;
mod log;
pub mod notice;
mod pacing;
mod publishing;
mod room;
mod seats;
mod subscriptions;
mod telling;
#[cfg(test)]
mod tests;
mod wire;

pub use config::Config;
pub use joining::{JoinError, Since};
pub use log::{Head, Replay, RoomError, RoomFrame, RoomLog};
pub use wire::frame_of;

use change::{Change, Passing};
use live::Live;
use publishing::Outgoing;
use room::Bounds;
use seats::SeatId;
use wire::Said;

/// What arrives in topics at a node.
#[derive(Clone, Debug)]
pub enum TopicNews {
    Said(ChannelId, Bytes),
    /// A subscription stands that knows no topics, and anything may have been missed.
    Interrupted,
}

/// Takes what arrives in topics. Called from the broker's task: must not block.
pub type TopicListener = Arc<dyn Fn(TopicNews) + Send + Sync>;

/// What the rooms of a node are made of.
pub struct Parts {
    pub node: NodeId,
    pub config: Config,
    pub log: Arc<dyn RoomLog>,
    pub topics: Arc<dyn Topics>,
    /// Whether this node reaches the others.
    pub health: Arc<BrokerHealth>,
}

/// The rooms of this node: those that somebody here subscribes to. Cheap to clone.
#[derive(Clone)]
pub struct Rooms(Arc<Inner>);

struct Inner {
    parts: Parts,
    live: RwLock<HashMap<ChannelId, Arc<Live>>>,
    /// The rooms of each connection, and its seat in each.
    connections: Mutex<HashMap<ConnectionId, HashMap<ChannelId, SeatId>>>,
    outgoing: mpsc::Sender<Outgoing>,
    /// Changes that were not published: the others are told that they exist, as soon as that is possible.
    unsaid: Mutex<HashMap<ChannelId, i64>>,
    /// Rooms that came or went since the subscriptions were looked at.
    touched: Mutex<HashSet<ChannelId>>,
    subscriptions_changed: Notify,
    /// The node's subscription to topics is a new one.
    is_interrupted: AtomicBool,
    /// Rooms in which something may have been missed.
    doubtful: Mutex<HashSet<ChannelId>>,
    doubted: Notify,
    /// Another past took the place of the one that was told.
    is_anew: AtomicBool,
    /// Rooms in which somebody was told less, because there was no memory for it.
    lagging: Mutex<HashSet<ChannelId>>,
    reading: Semaphore,
    shutdown: Shutdown,
}

impl Rooms {
    /// Starts what keeps the rooms.
    #[must_use]
    pub fn start(parts: Parts, shutdown: &Shutdown) -> Self {
        let (outgoing, queue) = mpsc::channel(parts.config.publish_queue_frames);
        let inner = Arc::new(Inner {
            live: RwLock::default(),
            connections: Mutex::default(),
            outgoing,
            unsaid: Mutex::default(),
            touched: Mutex::default(),
            subscriptions_changed: Notify::new(),
            is_interrupted: AtomicBool::new(false),
            doubtful: Mutex::default(),
            doubted: Notify::new(),
            is_anew: AtomicBool::new(false),
            lagging: Mutex::default(),
            reading: Semaphore::new(parts.config.read_concurrency),
            shutdown: shutdown.clone(),
            parts,
        });
        metrics::gauge!("fanlight_rooms").set(0.0);
        metrics::gauge!("fanlight_room_subscriptions").set(0.0);
        shutdown.spawn("rooms.publishing", publishing::run(Arc::clone(&inner), queue));
        shutdown.spawn("rooms.subscriptions", subscriptions::run(Arc::clone(&inner)));
        shutdown.spawn("rooms.comparing", comparing::run(Arc::clone(&inner)));
        Self(inner)
    }

    /// What this node hears in topics has to be told here.
    #[must_use]
    pub fn listener(&self) -> TopicListener {
        let inner = Arc::clone(&self.0);
        Arc::new(move |news| match news {
            TopicNews::Said(room, message) => inner.hear(room, message),
            TopicNews::Interrupted => inner.subscribe_again(),
        })
    }

    /// Tells the room's subscribers on all nodes. Call it after the commit; it returns at once. What is lost on the way is
    /// read from the log.
    pub fn publish(&self, frame: RoomFrame) {
        crate::failpoint!("room_committed");
        let RoomFrame { room, revision, kind, frame } = frame;
        metrics::counter!("fanlight_room_frames_published_total", "kind" => kind).increment(1);
        self.0.change(room, revision, Change::Frame(frame));
    }

    /// Tells the room's subscribers on all nodes, but `except`, something that is worth nothing later. The first to be
    /// dropped.
    pub fn publish_passing(&self, room: ChannelId, except: Option<UserId>, kind: &'static str, frame: Bytes) {
        metrics::counter!("fanlight_room_frames_published_total", "kind" => kind).increment(1);
        let passing = Passing { except, frame };
        self.0.say(room, None, &Said::Passing(passing.clone()));
        self.0.pass(room, passing);
    }

    /// Ends what the user hears of the room, on all nodes. Call it after the commit of the removal, which has taken
    /// `revision`: whatever may go wrong here, no later change reaches the user.
    pub fn expel(&self, room: ChannelId, user: UserId, revision: i64) {
        self.0.change(room, revision, Change::Expelled(user));
    }

    /// Ends what anybody hears of a room that was deleted, on all nodes, with this last frame. Call it after the commit.
    pub fn close(&self, room: ChannelId, kind: &'static str, last: &Bytes) {
        metrics::counter!("fanlight_room_frames_published_total", "kind" => kind).increment(1);
        self.0.say(room, None, &Said::Gone(last.clone()));
        self.0.close(room, last);
    }

    /// Ends a subscription. Returns whether there was one.
    pub fn leave(&self, mailbox: &Mailbox, room: ChannelId) -> bool {
        self.0.leave(mailbox.connection, room)
    }

    /// Ends all subscriptions of a connection that has ended.
    pub fn forget(&self, mailbox: &Mailbox) {
        let seats = self.0.connections.lock().remove(&mailbox.connection).unwrap_or_default();
        for (room, seat) in seats {
            self.0.stand_up(room, seat, mailbox.connection);
        }
    }

    /// Another Postgres took over, or a backup was restored: lets everybody read the state, since revisions may stand for
    /// other changes now.
    pub fn begin_anew(&self) {
        // What was not said yet is of the past that was lost.
        self.0.unsaid.lock().clear();
        self.0.is_anew.store(true, Ordering::SeqCst);
        self.0.doubted.notify_one();
    }

    /// Does something in Postgres for somebody who joins, when it is his turn: a crowd that comes back waits here, and not in
    /// front of the requests that need Postgres too.
    ///
    /// # Errors
    /// [`RoomError::Unavailable`] when it takes too long.
    pub async fn in_turn<T>(&self, work: impl Future<Output = T>) -> Result<T, RoomError> {
        self.0.read(async { Ok(work.await) }).await
    }

    /// How many rooms have a subscriber here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.live.read().len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    fn room(&self, room: ChannelId) -> Option<Arc<Live>> {
        self.live.read().get(&room).cloned()
    }

    fn bounds(&self) -> Bounds {
        let Config { waiting_changes_max, gate_changes_max, .. } = self.parts.config;
        Bounds { waiting_max: waiting_changes_max, gate_max: gate_changes_max }
    }

    fn change(self: &Arc<Self>, room: ChannelId, revision: i64, change: Change) {
        let said = Said::Change(revision, change.clone());
        self.say(room, Some(revision), &said);
        self.arrive(room, revision, change);
    }
}
