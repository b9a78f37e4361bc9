//! Requests against the database: what was answered 200 is there once for both people, and nothing else is.

use std::collections::HashMap;

use uuid::Uuid;

use super::{Evidence, Findings, Invariant};
use crate::history::{Answer, Change, Record};
use crate::rooms::Part;
use crate::truth::Row;

pub fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    let changes: Vec<&Change> = evidence.records.iter().filter_map(change).collect();
    let mut told: HashMap<(usize, i64), Vec<&Row>> = HashMap::new();
    for row in evidence.rows {
        if let Some(room) = row.room {
            check_of_room(row, room, evidence, findings);
            continue;
        }
        match (row.actor, row.name) {
            (Some(actor), Some(name)) => told.entry((actor, name)).or_default().push(row),
            _ => findings
                .add(Invariant::Phantom, format!("user {} seq {} tells of no change", row.user, row.seq)),
        }
        if !is_addressed_well(row, evidence) {
            findings.add(
                Invariant::Leak,
                format!("user {} seq {} tells of user {:?}", row.user, row.seq, row.actor),
            );
        }
    }
    for change in &changes {
        findings.changes += 1;
        *match change.answer {
            Answer::Done => &mut findings.changes_done,
            Answer::Refused => &mut findings.changes_refused,
            Answer::Unknown => &mut findings.changes_unknown,
        } += 1;
        let rows = told.remove(&(change.actor, change.name)).unwrap_or_default();
        check_one(change, &rows, findings);
    }
    for (actor, name) in told.keys() {
        findings.add(Invariant::Phantom, format!("user {actor} never made change {name}"));
    }
    check_sequences(evidence, findings);
}

fn change(record: &Record) -> Option<&Change> {
    match record {
        Record::Change(change) => Some(change),
        _ => None,
    }
}

fn check_one(change: &Change, rows: &[&Row], findings: &mut Findings) {
    let Change { actor, name, answer, .. } = change;
    let own = rows.iter().filter(|row| row.own).count();
    let partners = rows.len() - own;
    match (answer, own, partners) {
        (Answer::Done | Answer::Unknown, 1, 1) | (Answer::Refused | Answer::Unknown, 0, 0) => {}
        (Answer::Refused, ..) => {
            findings.add(Invariant::Phantom, format!("change {name} of user {actor} was refused and is committed"));
        }
        (_, 0 | 1, 0 | 1) => findings.add(
            Invariant::Lost,
            format!("change {name} of user {actor} ({answer:?}): {own} events for them, {partners} for the partner"),
        ),
        _ => findings.add(Invariant::Phantom, format!("change {name} of user {actor} was made more than once")),
    }
}

fn is_addressed_well(row: &Row, evidence: &Evidence<'_>) -> bool {
    let addressee = row.actor.and_then(|actor| {
        if row.own { Some(actor) } else { evidence.parties.get(actor).map(|party| party.partner) }
    });
    addressee == Some(row.user)
}

/// Whoever is told of a room's life is, or was, in it.
fn check_of_room(row: &Row, room: Uuid, evidence: &Evidence<'_>, findings: &mut Findings) {
    let room = evidence.rooms.iter().find(|(it, _)| it.id == room);
    let seat = room.and_then(|(room, _)| room.seat_of(row.user));
    if seat.is_none_or(|seat| seat.part == Part::Stranger) {
        let Row { user, seq, .. } = row;
        findings
            .add(Invariant::Leak, format!("user {user} seq {seq} tells of a room that they were never in"));
    }
}

/// Each person's seqs are 1, 2, 3, …
fn check_sequences(evidence: &Evidence<'_>, findings: &mut Findings) {
    let mut last: HashMap<usize, i64> = HashMap::new();
    for row in evidence.rows {
        let previous = last.insert(row.user, row.seq).unwrap_or(0);
        if row.seq != previous + 1 {
            findings.add(
                Invariant::Disorder,
                format!("user {}: seq {} follows {previous} in the database", row.user, row.seq),
            );
        }
    }
}
