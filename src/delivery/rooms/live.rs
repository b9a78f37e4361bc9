//! A room that somebody here subscribes to, and the task that works for it while there is something to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::delivery::rooms::Inner;
use crate::delivery::rooms::room::{Bounds, Room};
use crate::domain::ids::ChannelId;

pub struct Live {
    pub id: ChannelId,
    pub room: Mutex<Room>,
    /// Something came while the task waits.
    pub arrived: Notify,
    is_working: AtomicBool,
    /// Whether this node hears the room's topic.
    pub is_heard: watch::Sender<bool>,
}

impl Live {
    pub fn new(id: ChannelId, bounds: Bounds) -> Self {
        Self {
            id,
            room: Mutex::new(Room::new(bounds)),
            arrived: Notify::new(),
            is_working: AtomicBool::new(false),
            is_heard: watch::Sender::new(false),
        }
    }

    /// There was nothing to do a moment ago. Returns whether that is still so: whoever came meanwhile saw the task at
    /// work, and relies on it.
    pub fn rest(&self) -> bool {
        self.is_working.store(false, Ordering::SeqCst);
        let is_idle = self.room.lock().is_idle();
        is_idle || self.is_working.swap(true, Ordering::SeqCst)
    }
}

impl Inner {
    /// Call it after each change of a room.
    pub fn wake(self: &Arc<Self>, live: &Arc<Live>) {
        if live.is_working.swap(true, Ordering::SeqCst) {
            live.arrived.notify_one();
            return;
        }
        let (inner, live) = (Arc::clone(self), Arc::clone(live));
        self.shutdown.spawn_light(async move {
            let stop = inner.shutdown.clone();
            // Cancel-safe: nothing is told any more.
            stop.unless_stopped(inner.work(live)).await;
        });
    }
}
