//! Judges a run: what everybody saw against what Postgres and the push service hold. Pure.
//!
//! The invariants are those of `docs/reliability.md`. A violation is a sentence that names the people and the seq,
//! so that it can be looked up in the history.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::history::{Millis, Record};
use crate::rooms::Room;
use crate::rooms::truth::RoomTruth;
use crate::truth::{Push, Row};
use crate::users::{Habit, User};

mod changes;
mod rooms;
mod settling;
mod sockets;
#[cfg(test)]
mod tests;

pub use rooms::Counts;

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// A committed event was neither shown nor pushed, or cannot even be fetched.
    Lost,
    /// Something was told that nobody did, or that the database does not hold.
    Phantom,
    /// One connection brought an event twice, or one that its client had named as seen.
    Duplicate,
    /// One connection brought an event before an earlier one, or left one out.
    Disorder,
    /// Somebody was told what is not for them.
    Leak,
    /// An event was settled as delivered (or pushed) before any device (or the push service) had it.
    Unearned,
    /// An event is not settled although everything has healed.
    Overdue,
    /// A client was told to read the state although everything it missed is kept.
    Resync,
}

impl Invariant {
    pub const ALL: [Self; 8] = [
        Self::Lost,
        Self::Phantom,
        Self::Duplicate,
        Self::Disorder,
        Self::Leak,
        Self::Unearned,
        Self::Overdue,
        Self::Resync,
    ];
}

/// What a person is to the checker.
#[derive(Clone, Debug)]
pub struct Party {
    pub partner: usize,
    pub habit: Habit,
    pub resumes: bool,
    pub acks: bool,
    pub has_phone: bool,
}

impl Party {
    /// Connected at the end of the storm, by habit.
    pub fn is_attached(&self) -> bool {
        !matches!(self.habit, Habit::Absent | Habit::Stranded)
    }

    /// Connected whenever they can be.
    pub fn is_witness(&self) -> bool {
        self.habit == Habit::Steady && self.resumes
    }
}

impl From<&User> for Party {
    fn from(user: &User) -> Self {
        Self {
            partner: user.partner,
            habit: user.habit,
            resumes: user.resumes,
            acks: user.acks,
            has_phone: user.phone.is_some(),
        }
    }
}

/// All that is judged.
pub struct Evidence<'a> {
    pub parties: &'a [Party],
    pub records: &'a [Record],
    pub rows: &'a [Row],
    pub pushes: &'a [Push],
    /// Each room, and what the database holds of it.
    pub rooms: &'a [(Room, RoomTruth)],
    /// When everybody was called back: what was pushed after that does not count any more.
    pub recalled_at: Millis,
    /// Events that were not settled in time after the healing.
    pub overdue_after_healing: i64,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Findings {
    pub violations: BTreeMap<Invariant, Vec<String>>,
    /// Arrivals of what another connection had brought before; clients drop them.
    pub raw_duplicates: usize,
    /// Pushed although a device had it two seconds before.
    pub false_pushes: usize,
    pub pushes_accepted: usize,
    pub changes: usize,
    pub changes_done: usize,
    pub changes_refused: usize,
    pub changes_unknown: usize,
    pub events: usize,
    pub arrivals: usize,
    pub connections: usize,
    pub rooms: Counts,
}

impl Findings {
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    pub fn count(&self, invariant: Invariant) -> usize {
        self.violations.get(&invariant).map_or(0, Vec::len)
    }

    fn add(&mut self, invariant: Invariant, what: String) {
        self.violations.entry(invariant).or_default().push(what);
    }
}

pub fn judge(evidence: &Evidence<'_>) -> Findings {
    let mut findings = Findings { events: evidence.rows.len(), ..Findings::default() };
    changes::check(evidence, &mut findings);
    sockets::check(evidence, &mut findings);
    settling::check(evidence, &mut findings);
    rooms::check(evidence, &mut findings);
    findings
}
