//! What everybody has in the end who is in a room: all that happened there, as it is.

use std::collections::HashMap;

use uuid::Uuid;

use super::hearing::ToldTo;
use super::log::{Log, Step};
use crate::checker::{Findings, Invariant};
use crate::rooms::history::Told;
use crate::rooms::{Part, Seat};

pub fn check(log: &Log<'_>, told: &HashMap<usize, ToldTo<'_>>, findings: &mut Findings) {
    let nothing = ToldTo::default();
    let members = log.room.seats.iter().filter(|seat| seat.part != Part::Stranger);
    for seat in members.filter(|seat| log.truth.members.contains(&seat.user)) {
        let told = told.get(&seat.user).unwrap_or(&nothing);
        check_complete(log, seat, told, findings);
        if !seat.by_seq {
            check_state(log, seat.user, told, findings);
        }
    }
    let everybody = log.room.seats.iter().filter(|seat| matches!(seat.part, Part::Owner | Part::Member));
    for seat in everybody.filter(|seat| !log.truth.members.contains(&seat.user)) {
        let what =
            format!("room {}: user {} is not in it, and nobody took them out", log.room.index, seat.user);
        findings.add(Invariant::Lost, what);
    }
}

fn check_complete(log: &Log<'_>, seat: &Seat, told: &ToldTo<'_>, findings: &mut Findings) {
    let lacks = |revision: &i64| !told.changes.contains_key(revision) && !told.skipped(*revision);
    let is_needed = |revision: &i64| !seat.by_seq || matches!(log.step(*revision), Some(Step::Written(_)));
    let lacking: Vec<i64> = log.between(0, i64::MAX).filter(is_needed).filter(lacks).collect();
    if let Some(first) = lacking.first() {
        let (room, user, count) = (log.room.index, seat.user, lacking.len());
        let what =
            format!("room {room}: user {user} was never told {count} changes, the first is revision {first}");
        findings.add(Invariant::Lost, what);
    }
}

/// Of each message the last that was told is how it is.
fn check_state(log: &Log<'_>, user: usize, told: &ToldTo<'_>, findings: &mut Findings) {
    let mut contents: HashMap<Uuid, Option<u64>> = HashMap::new();
    let mut reactions: HashMap<(Uuid, Uuid, &str), bool> = HashMap::new();
    // In the order of their revisions.
    for change in told.changes.values() {
        match change {
            Told::Created { message, content, .. } | Told::Edited { message, content } => {
                contents.insert(*message, Some(*content));
            }
            Told::Deleted { message } => {
                contents.insert(*message, None);
            }
            Told::ReactionAdded { message, by, emoji } => {
                reactions.insert((*message, *by, emoji), true);
            }
            Told::ReactionRemoved { message, by, emoji } => {
                reactions.insert((*message, *by, emoji), false);
            }
        }
    }
    let room = log.room.index;
    if !told.skipped.is_empty() {
        // They read some of it by REST.
        return;
    }
    for message in &log.truth.messages {
        let expected = (!message.is_deleted).then_some(message.content);
        if contents.get(&message.id).is_some_and(|shown| *shown != expected) {
            let what = format!("room {room}: user {user} sees seq {} as it is not", message.seq);
            findings.add(Invariant::Phantom, what);
        }
    }
    let deleted = |message: &Uuid| contents.get(message).is_some_and(Option::is_none);
    let mut shown: Vec<_> =
        reactions.iter().filter(|((message, ..), there)| **there && !deleted(message)).collect();
    shown.retain(|((message, by, emoji), _)| {
        !log.truth.reactions.iter().any(|(m, b, e)| (m, b, e.as_str()) == (message, by, *emoji))
    });
    for ((message, _, emoji), _) in shown {
        findings.add(
            Invariant::Phantom,
            format!("room {room}: user {user} sees {emoji} at {message}, which is gone"),
        );
    }
}
