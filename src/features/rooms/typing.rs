//! Tells a room who is typing in it. Never stored, never to oneself.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::frames::PassingFrame;
use super::typists::{Place, Typists};
use crate::delivery::rooms::Rooms;
use crate::domain::clock::SharedClock;
use crate::domain::ids::{ChannelId, ConnectionId, UserId};
use crate::shutdown::Shutdown;

/// Typing of more people at once is not told.
const TYPISTS_MAX: usize = 10_000;
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

pub struct Typing {
    rooms: Rooms,
    clock: SharedClock,
    typists: Mutex<Typists>,
    begun: Notify,
}

impl Typing {
    pub fn start(rooms: Rooms, clock: SharedClock, shutdown: &Shutdown) -> Arc<Self> {
        let typists = Mutex::new(Typists::new(TYPISTS_MAX));
        let typing = Arc::new(Self { rooms, clock, typists, begun: Notify::new() });
        shutdown.spawn("rooms.typing", Arc::clone(&typing).lapse(shutdown.clone()));
        typing
    }

    /// Somebody says that he is typing. Returns whether the others know.
    pub fn goes_on(&self, room: ChannelId, user: UserId) -> bool {
        let goes_on = self.typists.lock().goes_on((room, user), Instant::now());
        if goes_on {
            count("throttled", 1);
        }
        goes_on
    }

    pub fn begin(&self, room: ChannelId, user: UserId, connection: ConnectionId) {
        let is_told = self.typists.lock().begin((room, user), connection, Instant::now());
        if is_told {
            self.tell((room, user), true);
            self.begun.notify_one();
        }
        count(if is_told { "begun" } else { "refused" }, 1);
    }

    pub fn end(&self, room: ChannelId, user: UserId) {
        let was_typing = self.typists.lock().end((room, user));
        if was_typing {
            self.tell_ended(&[(room, user)], "ended");
        }
    }

    /// The connection has ended.
    pub fn end_all(&self, connection: ConnectionId) {
        let ended = self.typists.lock().end_all(connection);
        self.tell_ended(&ended, "ended");
    }

    /// Ends what nobody repeats, until the process stops.
    async fn lapse(self: Arc<Self>, shutdown: Shutdown) {
        while !shutdown.is_stopping() {
            let is_quiet = self.typists.lock().is_empty();
            if is_quiet {
                // Cancel-safe: a notification stays until somebody waits for it.
                shutdown.unless_stopped(self.begun.notified()).await;
            }
            shutdown.unless_stopped(sleep(LOOK_INTERVAL)).await;
            let lapsed = self.typists.lock().lapse(Instant::now());
            self.tell_ended(&lapsed, "lapsed");
        }
    }

    fn tell_ended(&self, places: &[Place], result: &'static str) {
        count(result, places.len());
        for place in places {
            self.tell(*place, false);
        }
    }

    fn tell(&self, (room, user): Place, is_typing: bool) {
        let timestamp = self.clock.now().timestamp_millis();
        let typing = PassingFrame::Typing { channel_id: room, user_id: user, is_typing, timestamp };
        self.rooms.publish_passing(room, Some(user), "TYPING", typing.frame());
    }
}

fn count(result: &'static str, people: usize) {
    metrics::counter!("fanlight_typing_total", "result" => result).increment(people as u64);
}
