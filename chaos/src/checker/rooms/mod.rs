//! Rooms: every member who stays is told each change once and in order, and nobody else anything.

use serde::Serialize;

use super::{Evidence, Findings, Invariant};
use crate::history::Record;
use crate::rooms::history::{Heard, RoomRecord};

mod hearing;
mod leaks;
mod log;
#[cfg(test)]
mod tests;
mod views;
mod writing;

use log::Log;

/// How much there was to judge.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    pub attempts: usize,
    pub done: usize,
    pub refused: usize,
    pub unknown: usize,
    /// In the database.
    pub messages: usize,
    pub changes: usize,
    pub removals: usize,
    /// Frames that clients were told.
    pub told: usize,
    /// Subscriptions that began.
    pub joined: usize,
}

pub fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    for (room, truth) in evidence.rooms {
        let log = Log::new(room, truth, evidence.records, findings);
        findings.rooms.messages += truth.messages.len();
        findings.rooms.changes += truth.changes.len();
        findings.rooms.removals += log.removals.len();
        writing::check(&log, evidence.records, findings);
        leaks::check(&log, evidence.records, findings);
        let told = hearing::check(&log, evidence.records, findings);
        views::check(&log, &told, findings);
    }
    for heard in evidence.records.iter().filter_map(heard) {
        if evidence.rooms.iter().all(|(room, _)| room.index != heard.room) {
            let Heard { user, word, .. } = heard;
            findings.add(
                Invariant::Leak,
                format!("user {user} was told of a room that they never asked for: {word:?}"),
            );
        }
    }
}

fn of_room(record: &Record) -> Option<&RoomRecord> {
    match record {
        Record::Room(record) => Some(record),
        _ => None,
    }
}

fn heard(record: &Record) -> Option<&Heard> {
    match of_room(record)? {
        RoomRecord::Heard(heard) => Some(heard),
        _ => None,
    }
}
