//! Who sits in a room: the connections of this node that subscribe to it, and how far each of them is.
//!
//! A seat keeps its number as long as it is taken, so that telling everybody can pause in the middle.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::delivery::mailbox::{Mailbox, Notice, NoticeKind};
use crate::delivery::rooms::change::{Batch, Passing};
use crate::domain::ids::{ConnectionId, UserId};

/// A place in a room's row of seats, and whose turn it is there: the next one there is another seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatId {
    place: usize,
    turn: u64,
}

/// Of all rooms: one that comes to life again must not give the same seats.
static TURNS: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is not known yet where its subscriber begins.
    Reading,
    /// Its subscriber is still told what it missed.
    Held,
    Live,
}

struct Seat {
    turn: u64,
    mailbox: Arc<Mailbox>,
    stage: Stage,
    /// Its subscriber has been left all changes up to this one, or none of them can be had any more.
    told: i64,
}

#[derive(Default)]
pub struct Seats {
    row: Vec<Option<Seat>>,
    free: Vec<usize>,
    /// Seats that are not live yet.
    awaiting: usize,
}

/// What became of telling some of the seats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub frames: usize,
    /// Seats for which this node had no memory left.
    pub deferred: usize,
}

impl Seats {
    pub fn take(&mut self, mailbox: &Arc<Mailbox>) -> SeatId {
        let turn = TURNS.fetch_add(1, Ordering::Relaxed);
        let place = self.free.pop().unwrap_or_else(|| {
            self.row.push(None);
            self.row.len() - 1
        });
        self.row[place] = Some(Seat { turn, mailbox: Arc::clone(mailbox), stage: Stage::Reading, told: 0 });
        self.awaiting += 1;
        SeatId { place, turn }
    }

    /// Frees the seat if it is still this connection's.
    pub fn leave(&mut self, seat: SeatId, connection: ConnectionId) -> bool {
        let is_taken = self.seat(seat, connection).is_some();
        if is_taken {
            self.clear(seat.place);
        }
        is_taken
    }

    fn clear(&mut self, place: usize) {
        if let Some(seat) = self.row[place].take() {
            self.awaiting -= usize::from(seat.stage != Stage::Live);
            self.free.push(place);
        }
    }

    fn seat(&mut self, id: SeatId, connection: ConnectionId) -> Option<&mut Seat> {
        let seat = self.row.get_mut(id.place)?.as_mut();
        seat.filter(|seat| seat.turn == id.turn && seat.mailbox.connection == connection)
    }

    /// Its subscriber begins after `told`, and is not told anything here yet. False: it has lost its seat.
    pub fn hold(&mut self, seat: SeatId, connection: ConnectionId, told: i64) -> bool {
        let seat = self.seat(seat, connection);
        seat.map(|seat| (seat.stage, seat.told) = (Stage::Held, told)).is_some()
    }

    pub fn is_taken(&mut self, seat: SeatId, connection: ConnectionId) -> bool {
        self.seat(seat, connection).is_some()
    }

    /// Whether it is known where its subscriber begins.
    pub fn is_held(&mut self, seat: SeatId, connection: ConnectionId) -> bool {
        self.seat(seat, connection).is_some_and(|seat| seat.stage == Stage::Held)
    }

    /// Where those begin who are about to join is not known any more.
    pub fn read_again(&mut self) {
        for seat in self.row.iter_mut().flatten().filter(|seat| seat.stage == Stage::Held) {
            seat.stage = Stage::Reading;
        }
    }

    /// From now on its subscriber hears all that comes after `told`.
    pub fn go_live(&mut self, seat: SeatId, connection: ConnectionId, told: i64) {
        if let Some(seat) = self.seat(seat, connection) {
            let was_live = seat.stage == Stage::Live;
            (seat.stage, seat.told) = (Stage::Live, told);
            self.awaiting -= usize::from(!was_live);
        }
    }

    pub fn len(&self) -> usize {
        self.row.len() - self.free.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether somebody is about to join.
    pub fn is_awaiting(&self) -> bool {
        self.awaiting > 0
    }

    /// Frees the seats of those who have not been told a change that ends their being here. Whoever does not know yet
    /// where to begin is asked again after that. Returns their mailboxes.
    pub fn evict(&mut self, revision: i64, whom: impl Fn(UserId) -> bool) -> Vec<(Arc<Mailbox>, SeatId)> {
        let mut evicted = Vec::new();
        for place in 0..self.row.len() {
            let leaves = |seat: &&Seat| {
                seat.stage != Stage::Reading && seat.told < revision && whom(seat.mailbox.user)
            };
            if let Some(seat) = self.row[place].as_ref().filter(leaves) {
                evicted.push((Arc::clone(&seat.mailbox), SeatId { place, turn: seat.turn }));
                self.clear(place);
            }
        }
        evicted
    }

    pub fn users(&self) -> Vec<UserId> {
        let mut users: Vec<UserId> = self.row.iter().flatten().map(|seat| seat.mailbox.user).collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    fn some(&self, places: Range<usize>) -> Range<usize> {
        places.start.min(self.row.len())..places.end.min(self.row.len())
    }

    /// Leaves a batch with those in these places who have been told what comes before it.
    pub fn tell(&mut self, batch: &Batch, places: Range<usize>) -> Told {
        let mut told = Told::default();
        let places = self.some(places);
        for seat in self.row[places].iter_mut().flatten() {
            if seat.stage != Stage::Live || seat.told < batch.after || seat.told >= batch.up_to {
                continue;
            }
            let new = batch.frames.partition_point(|(revision, _)| *revision <= seat.told);
            let frames = batch.frames[new..].iter().map(|(_, frame)| frame);
            if new == batch.frames.len() || seat.mailbox.leave(frames) {
                seat.told = batch.up_to;
                told.frames += batch.frames.len() - new;
            } else {
                told.deferred += 1;
            }
        }
        told
    }

    pub fn tell_passing(&self, passing: &Passing, places: Range<usize>) {
        for seat in self.row[self.some(places)].iter().flatten() {
            if seat.stage == Stage::Live && passing.except != Some(seat.mailbox.user) {
                let frame = passing.frame.clone();
                seat.mailbox.notify(Notice { kind: NoticeKind::Ephemeral, frame });
            }
        }
    }

    /// How many places there are to go through.
    pub fn places(&self) -> usize {
        self.row.len()
    }

    /// The least that anybody has been told.
    pub fn slowest(&self) -> Option<i64> {
        self.row.iter().flatten().filter(|seat| seat.stage == Stage::Live).map(|seat| seat.told).min()
    }

    /// Those who have been told less than `revision`, or more, are told `notice` instead, and go on from there.
    pub fn reset(&mut self, revision: i64, concerns: impl Fn(i64) -> bool, notice: &Bytes) -> usize {
        let mut reset = 0;
        for seat in self.row.iter_mut().flatten() {
            if seat.stage == Stage::Live && concerns(seat.told) {
                seat.mailbox.answer(notice.clone());
                seat.told = revision;
                reset += 1;
            }
        }
        reset
    }
}
