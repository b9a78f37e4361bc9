//! What arrives in the rooms of this node, and who leaves them.

use std::sync::Arc;

use bytes::Bytes;

use crate::delivery::mailbox::Mailbox;
use crate::delivery::rooms::Inner;
use crate::delivery::rooms::change::{Change, Passing};
use crate::delivery::rooms::live::Live;
use crate::delivery::rooms::notice::{RoomNotice, UnsubscribedReason};
use crate::delivery::rooms::seats::SeatId;
use crate::delivery::rooms::wire::{self, Said};
use crate::domain::ids::{ChannelId, ConnectionId};
use crate::seeded_bug;
use crate::telemetry::as_gauge;

impl Inner {
    /// What another node says, or this one again.
    pub fn hear(self: &Arc<Self>, room: ChannelId, message: Bytes) {
        match wire::decode(message) {
            // It was told here before it was published.
            Some((node, _)) if node == self.parts.node => {}
            Some((_, Said::Change(..))) if seeded_bug::drops_room_message() => {}
            Some((_, Said::Change(revision, change))) => self.arrive(room, revision, change),
            Some((_, Said::Head(revision))) => {
                if let Some(live) = self.room(room) {
                    live.room.lock().hear_of(revision);
                    self.wake(&live);
                }
            }
            Some((_, Said::Passing(passing))) => self.pass(room, passing),
            Some((_, Said::Gone(last))) => self.close(room, &last),
            None => metrics::counter!("fanlight_broker_unreadable_messages_total").increment(1),
        }
    }

    pub fn arrive(self: &Arc<Self>, room: ChannelId, revision: i64, change: Change) {
        let Some(live) = self.room(room) else { return };
        let evicted = live.room.lock().arrive(revision, change);
        self.dismiss(&live, evicted, UnsubscribedReason::Removed);
        self.wake(&live);
    }

    pub fn pass(self: &Arc<Self>, room: ChannelId, passing: Passing) {
        if let Some(live) = self.room(room) {
            live.room.lock().pass(passing);
            self.wake(&live);
        }
    }

    /// The room is no more. `last` says so, if it is not empty.
    pub fn close(&self, room: ChannelId, last: &Bytes) {
        if let Some(live) = self.room(room) {
            let evicted = live.room.lock().end();
            for (mailbox, _) in evicted.iter().filter(|_| !last.is_empty()) {
                mailbox.answer(last.clone());
            }
            self.dismiss(&live, evicted, UnsubscribedReason::Gone);
        }
    }

    /// Tells those who have lost their seats, and forgets them.
    pub fn dismiss(&self, live: &Live, evicted: Vec<(Arc<Mailbox>, SeatId)>, reason: UnsubscribedReason) {
        if evicted.is_empty() {
            return;
        }
        let notice = RoomNotice::Unsubscribed { channel_id: live.id, reason }.frame();
        for (mailbox, seat) in evicted {
            metrics::counter!("fanlight_room_expulsions_total", "reason" => reason.as_str()).increment(1);
            metrics::gauge!("fanlight_room_subscriptions").decrement(1.0);
            mailbox.answer(notice.clone());
            if let Some(rooms) = self.connections.lock().get_mut(&mailbox.connection)
                && rooms.get(&live.id) == Some(&seat)
            {
                rooms.remove(&live.id);
            }
        }
        self.drop_if_empty(live.id);
    }

    pub fn leave(&self, connection: ConnectionId, room: ChannelId) -> bool {
        let seat = self.connections.lock().get_mut(&connection).and_then(|rooms| rooms.remove(&room));
        seat.is_some_and(|seat| self.stand_up(room, seat, connection))
    }

    pub fn stand_up(&self, room: ChannelId, seat: SeatId, connection: ConnectionId) -> bool {
        let left = self.room(room).is_some_and(|live| live.room.lock().seats.leave(seat, connection));
        if left {
            metrics::gauge!("fanlight_room_subscriptions").decrement(1.0);
            self.drop_if_empty(room);
        }
        left
    }

    pub fn drop_if_empty(&self, room: ChannelId) {
        let mut all = self.live.write();
        // Whoever takes a seat does so while it holds the list: none is taken in a room that goes.
        if all.get(&room).is_some_and(|live| live.room.lock().seats.is_empty()) {
            all.remove(&room);
            metrics::gauge!("fanlight_rooms").set(as_gauge(all.len()));
            drop(all);
            self.touch(room);
        }
    }
}
