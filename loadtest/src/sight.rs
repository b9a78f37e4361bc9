//! What one phone has seen, over all its connections: each event once, in order, without a gap. Pure.

use std::collections::{BTreeSet, HashSet};

use uuid::Uuid;

/// What an event is to the app behind the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Shown.
    New,
    /// An earlier connection brought it, and the client said so too late: it drops it by its seq.
    Repeat,
    /// This connection brought it before, or the client had named it as seen, or its id came under another seq.
    Duplicate,
}

/// A look, and whether the event came out of order: before an earlier one, or after a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub look: Look,
    pub in_order: bool,
}

#[derive(Debug, Default)]
pub struct Sight {
    /// All events up to this one were seen.
    complete_up_to: i64,
    /// Those that were seen beyond a gap.
    beyond: BTreeSet<i64>,
    ids: HashSet<Uuid>,
    /// The last one that this connection brought, or that it began after.
    last: i64,
    /// What this connection jumped over.
    skipped: BTreeSet<i64>,
}

impl Sight {
    /// What a client that forgets its last `forgotten` events says when it comes back.
    pub fn since(&self, forgotten: i64) -> i64 {
        (self.complete_up_to - forgotten).max(0)
    }

    /// The last seq that may be confirmed.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// A connection has begun that said `since`.
    pub fn connected(&mut self, since: i64) {
        self.last = since;
        self.skipped.clear();
    }

    pub fn see(&mut self, seq: i64, id: Uuid) -> Sighting {
        let in_order = seq == self.last + 1;
        let is_late = self.skipped.remove(&seq);
        if seq <= self.last && !is_late {
            return Sighting { look: Look::Duplicate, in_order: true };
        }
        if seq > self.last {
            self.skipped.extend(self.last + 1..seq);
            self.last = seq;
        }
        if seq <= self.complete_up_to || self.beyond.contains(&seq) {
            return Sighting { look: Look::Repeat, in_order };
        }
        self.beyond.insert(seq);
        while self.beyond.remove(&(self.complete_up_to + 1)) {
            self.complete_up_to += 1;
        }
        let look = if self.ids.insert(id) { Look::New } else { Look::Duplicate };
        Sighting { look, in_order }
    }

    /// The server said that the state must be read: what came before is given up.
    pub fn resync(&mut self, from_seq: i64) {
        self.complete_up_to = self.complete_up_to.max(from_seq);
        self.beyond = self.beyond.split_off(&(from_seq + 1));
        self.last = from_seq;
        self.skipped.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Sighting = Sighting { look: Look::New, in_order: true };

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    /// One connection that brought 1 and 2.
    fn two() -> Sight {
        let mut sight = Sight::default();
        sight.connected(0);
        assert_eq!(sight.see(1, id(1)), NEW);
        assert_eq!(sight.see(2, id(2)), NEW);
        sight
    }

    #[test]
    fn the_same_seq_twice_on_a_connection_is_a_duplicate() {
        assert_eq!(two().see(2, id(2)).look, Look::Duplicate);
    }

    #[test]
    fn what_the_client_named_as_seen_is_a_duplicate() {
        let mut sight = two();
        sight.connected(sight.since(0));
        assert_eq!(sight.see(2, id(2)).look, Look::Duplicate);
        assert_eq!(sight.see(3, id(3)), NEW);
    }

    #[test]
    fn what_the_client_forgot_is_repeated() {
        let mut sight = two();
        sight.connected(sight.since(1));
        assert_eq!(sight.see(2, id(2)), Sighting { look: Look::Repeat, in_order: true });
        assert_eq!(sight.see(3, id(3)), NEW);
    }

    #[test]
    fn an_id_under_another_seq_is_a_duplicate() {
        assert_eq!(two().see(3, id(2)).look, Look::Duplicate);
    }

    #[test]
    fn a_gap_and_what_fills_it_are_out_of_order() {
        let mut sight = two();
        assert_eq!(sight.see(4, id(4)), Sighting { look: Look::New, in_order: false });
        assert_eq!(sight.since(0), 2);
        assert_eq!(sight.see(3, id(3)), Sighting { look: Look::New, in_order: false });
        assert_eq!(sight.since(0), 4);
        assert_eq!(sight.see(5, id(5)), NEW);
    }

    #[test]
    fn after_a_resync_events_go_on() {
        let mut sight = two();
        sight.resync(10);
        assert_eq!(sight.see(11, id(11)), NEW);
        assert_eq!(sight.since(0), 11);
    }
}
