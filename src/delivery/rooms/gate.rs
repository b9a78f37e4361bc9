//! What has just happened in a room, kept for those who are about to join it.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::delivery::rooms::change::Change;
use crate::domain::ids::UserId;

/// The latest changes, kept while somebody joins: all that were told after `from`.
#[derive(Default)]
pub struct Gate {
    from: Option<i64>,
    changes: VecDeque<(i64, Change)>,
}

impl Gate {
    pub fn keep(&mut self, after: i64, changes: Vec<(i64, Change)>, max: usize) {
        self.from.get_or_insert(after);
        self.changes.extend(changes);
        while self.changes.len() > max {
            self.from = self.changes.pop_front().map(|(revision, _)| revision);
        }
    }

    /// Whether all that came after `revision` is here.
    pub fn reaches(&self, revision: i64) -> bool {
        self.from.is_some_and(|from| from <= revision)
    }

    pub fn is_expelled_after(&self, revision: i64, user: UserId) -> bool {
        let mut kept = self.changes.iter().filter(|(it, _)| *it > revision);
        kept.any(|(_, change)| *change == Change::Expelled(user))
    }

    pub fn frames_after(&self, revision: i64) -> Vec<Bytes> {
        let missed = self.changes.iter().filter(|(it, _)| *it > revision);
        missed
            .filter_map(|(_, change)| match change {
                Change::Frame(frame) => Some(frame.clone()),
                Change::Expelled(_) => None,
            })
            .collect()
    }
}
