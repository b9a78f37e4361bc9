//! Strangers hear nothing of a room; who was taken out nothing of what happened later, until they may be in it again.

use std::collections::HashMap;

use super::heard;
use super::log::{Log, Removal};
use crate::checker::{Findings, Invariant};
use crate::history::{Millis, Record};
use crate::rooms::Part;
use crate::rooms::history::{Heard, Word};

pub fn check(log: &Log<'_>, records: &[Record], findings: &mut Findings) {
    let room = log.room.index;
    // When each connection asked to hear the room.
    let mut asked_at: HashMap<u64, Millis> = HashMap::new();
    for heard in records.iter().filter_map(heard).filter(|heard| heard.room == room) {
        let Heard { user, connection, at, word, .. } = heard;
        let part = log.room.seat_of(*user).map_or(Part::Stranger, |seat| seat.part);
        match word {
            Word::Asked { .. } => {
                asked_at.insert(*connection, *at);
            }
            Word::Denied { .. } => {}
            _ if part == Part::Stranger => {
                findings.add(
                    Invariant::Leak,
                    format!("room {room}: user {user} is a stranger, and was told {word:?}"),
                );
            }
            Word::Change { revision, .. }
                if log.removals.iter().any(|it| it.forbids(*user, *revision, *at)) =>
            {
                let what =
                    format!("room {room}: user {user} was taken out, and was told revision {revision}");
                findings.add(Invariant::Leak, what);
            }
            Word::Joined { .. } => {
                let asked_at = asked_at.get(connection).copied().unwrap_or(0);
                let is_out = |it: &Removal| it.user == *user && it.done_at < asked_at && *at < it.back_at;
                if log.removals.iter().any(is_out) {
                    let what = format!("room {room}: user {user} was taken out, and subscribed after that");
                    findings.add(Invariant::Leak, what);
                }
            }
            _ => {}
        }
    }
}

impl Removal {
    fn forbids(&self, user: usize, revision: i64, at: Millis) -> bool {
        self.user == user && revision > self.revision && at < self.back_at
    }
}
