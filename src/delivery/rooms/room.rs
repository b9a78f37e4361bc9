//! One room as a node has it: what was told to its subscribers here, what waits to be told, and what is missing.
//!
//! No I/O but leaving frames in mailboxes. Changes are told in the order of their revisions, whatever order they came
//! in; a removal is one of them, so that nothing later is told while it is unknown. Who joins is told what it missed by
//! its own means, and meanwhile the latest changes are kept for it (the gate).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::delivery::mailbox::Mailbox;
use crate::delivery::rooms::change::{Batch, Change, Passing};
use crate::delivery::rooms::decision::{Closed, Comparison, Step};
use crate::delivery::rooms::gate::Gate;
use crate::delivery::rooms::log::{Head, RoomFrame};
use crate::delivery::rooms::seats::{SeatId, Seats, Told};
use crate::domain::ids::{ConnectionId, UserId};
use crate::seeded_bug;

/// Changes that are told in one go.
const BATCH_MAX: usize = 32;
/// What passes waits in so few places: more is dropped.
const PASSING_MAX: usize = 64;

#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub waiting_max: usize,
    pub gate_max: usize,
}

pub struct Room {
    bounds: Bounds,
    /// Everybody has been told all up to here, or is being told. `None`: nobody has read yet where the room is.
    told: Option<i64>,
    /// The highest revision that exists for certain.
    head: i64,
    waiting: BTreeMap<i64, Change>,
    passing: Vec<Passing>,
    gate: Gate,
    pub seats: Seats,
    is_catching_up: bool,
}

impl Room {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            told: None,
            head: 0,
            waiting: BTreeMap::new(),
            passing: Vec::new(),
            gate: Gate::default(),
            seats: Seats::default(),
            is_catching_up: false,
        }
    }

    pub fn told(&self) -> Option<i64> {
        self.told
    }

    /// A change came, in whatever order, perhaps not for the first time. Returns who has lost a seat by it: at once,
    /// even if changes before it are missing.
    pub fn arrive(&mut self, revision: i64, change: Change) -> Vec<(Arc<Mailbox>, SeatId)> {
        let evicted = match change {
            Change::Expelled(user) if !seeded_bug::keeps_the_removed() => {
                self.seats.evict(revision, |it| it == user)
            }
            _ => Vec::new(),
        };
        self.head = self.head.max(revision);
        if self.told.is_some_and(|told| revision <= told) {
            return evicted;
        }
        if self.waiting.len() < self.bounds.waiting_max || self.waiting.contains_key(&revision) {
            self.waiting.entry(revision).or_insert(change);
        } else {
            // The head says that it is missing.
            metrics::counter!("fanlight_room_waiting_overflows_total").increment(1);
        }
        evicted
    }

    /// There are changes up to this revision.
    pub fn hear_of(&mut self, revision: i64) {
        self.head = self.head.max(revision);
    }

    pub fn pass(&mut self, passing: Passing) {
        if self.passing.len() < PASSING_MAX {
            self.passing.push(passing);
        } else {
            metrics::counter!("fanlight_mailbox_notices_dropped_total").increment(1);
        }
    }

    pub fn catch_up(&mut self) {
        self.is_catching_up = true;
    }

    /// Changes first: what passes may be dropped.
    pub fn next(&mut self) -> Step {
        if self.is_idle() {
            return Step::Rest;
        }
        if let Some(told) = self.told
            && self.waiting.contains_key(&(told + 1))
        {
            return Step::Tell(self.take_run(told));
        }
        if !self.passing.is_empty() {
            return Step::Pass(std::mem::take(&mut self.passing));
        }
        let Some(told) = self.told else { return Step::Rest };
        if self.head > told {
            return Step::Mend { after: told, up_to: self.head };
        }
        if std::mem::take(&mut self.is_catching_up)
            && let Some(after) = self.seats.slowest().filter(|after| *after < told)
        {
            return Step::CatchUp { after, up_to: told };
        }
        Step::Rest
    }

    /// Whether [`Room::next`] has nothing to do.
    pub fn is_idle(&self) -> bool {
        // Before it is known where the room is, nothing can be missing.
        let lacks_some = self.told.is_some_and(|told| self.head > told || self.is_catching_up);
        self.seats.is_empty() || (self.passing.is_empty() && !lacks_some)
    }

    /// It was deleted. Returns who was there.
    pub fn end(&mut self) -> Vec<(Arc<Mailbox>, SeatId)> {
        self.waiting.clear();
        self.passing.clear();
        self.is_catching_up = false;
        (self.told, self.head, self.gate) = (None, 0, Gate::default());
        self.seats.evict(i64::MAX, |_| true)
    }

    /// What directly follows, without a gap.
    fn take_run(&mut self, after: i64) -> Batch {
        let mut changes = Vec::new();
        let mut up_to = after;
        while changes.len() < BATCH_MAX
            && let Some(change) = self.waiting.remove(&(up_to + 1))
        {
            up_to += 1;
            changes.push((up_to, change));
        }
        self.advance(after, up_to, changes)
    }

    fn advance(&mut self, after: i64, up_to: i64, changes: Vec<(i64, Change)>) -> Batch {
        let frames = changes.iter().filter_map(|(revision, change)| match change {
            Change::Frame(frame) => Some((*revision, frame.clone())),
            Change::Expelled(_) => None,
        });
        let batch = Batch { after, up_to, frames: frames.collect() };
        self.told = Some(up_to);
        self.head = self.head.max(up_to);
        if self.seats.is_awaiting() {
            self.gate.keep(after, changes, self.bounds.gate_max);
        } else {
            self.gate = Gate::default();
        }
        batch
    }

    /// Whether a removal may be among what was read after `after`, up to `up_to`.
    pub fn is_unexplained(&self, after: i64, up_to: i64, read: &[RoomFrame]) -> bool {
        let known = self.waiting.range(after + 1..=up_to).map(|(revision, _)| *revision);
        let read = read.iter().map(|frame| frame.revision);
        let explained: BTreeSet<i64> = known.chain(read).collect();
        i64::try_from(explained.len()).unwrap_or(i64::MAX) < up_to - after
    }

    /// What was missing has been read: all there is after `after`, up to `up_to`. `None` if meanwhile the room begins
    /// elsewhere.
    pub fn mend(&mut self, after: i64, up_to: i64, read: Vec<RoomFrame>) -> Option<Batch> {
        if self.told != Some(after) {
            return None;
        }
        let later = self.waiting.split_off(&(up_to + 1));
        let mut changes = std::mem::replace(&mut self.waiting, later);
        changes.extend(read.into_iter().map(|frame| (frame.revision, Change::Frame(frame.frame))));
        Some(self.advance(after, up_to, changes.into_iter().collect()))
    }

    /// Leaves a batch with those in some of the places.
    pub fn tell(&mut self, batch: &Batch, places: Range<usize>) -> Told {
        self.seats.tell(batch, places)
    }

    /// Lets a subscriber that has been told all up to `head` hear the rest: first the greeting, then what happened since.
    pub fn open(
        &mut self,
        (seat, connection): (SeatId, ConnectionId),
        mailbox: &Mailbox,
        head: i64,
        greeting: Bytes,
    ) -> Result<(), Closed> {
        if !self.seats.is_taken(seat, connection) || self.is_expelled_after(head, mailbox.user) {
            return Err(Closed::Expelled);
        }
        if !self.seats.is_held(seat, connection) {
            return Err(Closed::Behind);
        }
        let told = *self.told.get_or_insert(head);
        let missed: Vec<Bytes> = if told <= head {
            Vec::new()
        } else if self.gate.reaches(head) {
            self.gate.frames_after(head)
        } else {
            return Err(Closed::Behind);
        };
        self.waiting = self.waiting.split_off(&(told + 1));
        self.head = self.head.max(head);
        mailbox.answer(greeting);
        // Too much at once would end the connection; it is told in parts then, like whoever lags behind.
        let is_small = missed.iter().map(Bytes::len).sum::<usize>() <= Batch::BYTES_MAX;
        let is_left = missed.is_empty() || (is_small && mailbox.leave(missed.iter()));
        self.is_catching_up |= !is_left;
        self.seats.go_live(seat, connection, if is_left { told.max(head) } else { head });
        Ok(())
    }

    fn is_expelled_after(&self, revision: i64, user: UserId) -> bool {
        let mut waiting = self.waiting.range(revision + 1..);
        waiting.any(|(_, change)| *change == Change::Expelled(user))
            || self.gate.is_expelled_after(revision, user)
    }

    /// Postgres knows of nothing above `revision`: what was said of later changes is of a past that was lost.
    pub fn disbelieve(&mut self, revision: i64) {
        self.waiting.split_off(&(revision + 1));
        self.head = revision;
    }

    /// Compares with what Postgres said after this room had been told `told_before`.
    pub fn compare(&mut self, told_before: Option<i64>, head: Head) -> Comparison {
        match told_before {
            Some(told) if told > head.revision => Comparison::Ahead,
            Some(_) if self.told.is_some_and(|told| told < head.revision) => {
                self.hear_of(head.revision);
                Comparison::Behind
            }
            _ => Comparison::Abreast,
        }
    }

    /// Goes on from `head`, without telling what comes before it. Those who lack some of that are told `notice`.
    pub fn skip_to(&mut self, head: Head, notice: &Bytes) -> usize {
        self.waiting = self.waiting.split_off(&(head.revision + 1));
        self.gate = Gate::default();
        self.told = Some(head.revision);
        self.seats.reset(head.revision, |told| told < head.revision, notice)
    }

    /// What was told may never have been: goes on from `head`. Those whom it `concerns`, by how far they have been told, are
    /// told `notice`.
    pub fn start_over(&mut self, head: Head, concerns: impl Fn(i64) -> bool, notice: &Bytes) -> usize {
        self.waiting.clear();
        self.gate = Gate::default();
        self.seats.read_again();
        (self.told, self.head) = (Some(head.revision), head.revision);
        self.seats.reset(head.revision, concerns, notice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::rooms::tests::mailbox;

    fn room() -> Room {
        Room::new(Bounds { waiting_max: 8, gate_max: 8 })
    }

    #[test]
    fn a_room_that_nobody_has_read_yet_rests_whatever_it_should_do() {
        let mut room = room();
        room.seats.take(&Arc::new(mailbox(UserId::generate())));
        room.catch_up();
        room.hear_of(7);
        assert!(matches!(room.next(), Step::Rest) && room.is_idle());
    }

    #[test]
    fn who_joined_a_lost_past_reads_again() {
        let (mut room, mailbox) = (room(), Arc::new(mailbox(UserId::generate())));
        let seat = (room.seats.take(&mailbox), mailbox.connection);
        assert!(room.seats.hold(seat.0, seat.1, 10));
        room.start_over(Head { seq: 8, revision: 8 }, |_| true, &Bytes::new());
        assert!(matches!(room.open(seat, &mailbox, 10, Bytes::new()), Err(Closed::Behind)));
        assert!(room.seats.hold(seat.0, seat.1, 8));
        assert!(room.open(seat, &mailbox, 8, Bytes::new()).is_ok());
        assert_eq!(room.told(), Some(8));
    }

    #[test]
    fn a_seat_that_is_taken_again_is_another_one() {
        let (mut room, mailbox) = (room(), Arc::new(mailbox(UserId::generate())));
        let first = room.seats.take(&mailbox);
        assert!(room.seats.leave(first, mailbox.connection));
        let second = room.seats.take(&mailbox);
        assert_ne!(first, second);
        assert!(
            !room.seats.leave(first, mailbox.connection) && room.seats.is_taken(second, mailbox.connection)
        );
    }
}
