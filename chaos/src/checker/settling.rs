//! What became of each event: shown or pushed, settled for a reason, and in time.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{Evidence, Findings, Invariant, Party};
use crate::history::{Millis, Record};
use crate::truth::{Push, Row};

/// The clocks are one, but its readings are rounded, and records are made a moment after the fact.
const TOLERANCE_MS: Millis = 1_000;
/// A confirmation may be on its way for as long.
const FALSE_PUSH_MS: Millis = 2_000;

/// What is known of the events, by id.
#[derive(Default)]
struct Seen {
    /// When a device had it first.
    arrived_at: HashMap<Uuid, Millis>,
    /// Shown before the recall.
    shown: HashSet<Uuid>,
}

pub fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    let seen = seen(evidence);
    let accepted = accepted(evidence, findings);
    for row in evidence.rows {
        let Some(party) = evidence.parties.get(row.user) else { continue };
        let handed: &[&Push] = accepted.get(&row.user).map_or(&[], Vec::as_slice);
        check_lost(row, party, &seen, handed, evidence, findings);
        check_earned(row, &seen, handed, findings);
        if row.outcome.is_none() {
            findings.add(Invariant::Overdue, format!("user {} seq {} is not settled", row.user, row.seq));
        }
        let had_it = seen.arrived_at.get(&row.id).copied().unwrap_or(Millis::MAX);
        let false_push = |push: &&&Push| {
            push.event == Some(row.id) && had_it.saturating_add(FALSE_PUSH_MS) < push.at && !party.acks
        };
        findings.false_pushes += handed.iter().filter(false_push).count();
    }
    if evidence.overdue_after_healing > 0 {
        let count = evidence.overdue_after_healing;
        findings
            .add(Invariant::Overdue, format!("{count} events were not settled in time after the healing"));
    }
}

fn seen(evidence: &Evidence<'_>) -> Seen {
    let mut seen = Seen::default();
    let mut recalls = HashSet::new();
    for record in evidence.records {
        match record {
            Record::Opened(opened) if opened.recall => {
                recalls.insert(opened.connection);
            }
            Record::Arrival(arrival) => {
                seen.arrived_at.entry(arrival.id).or_insert(arrival.at);
                if !recalls.contains(&arrival.connection) {
                    seen.shown.insert(arrival.id);
                }
            }
            _ => {}
        }
    }
    seen
}

/// What the push service took, by person.
fn accepted<'a>(evidence: &'a Evidence<'_>, findings: &mut Findings) -> HashMap<usize, Vec<&'a Push>> {
    let owners: HashMap<Uuid, usize> = evidence.rows.iter().map(|row| (row.id, row.user)).collect();
    let mut accepted: HashMap<usize, Vec<&Push>> = HashMap::new();
    for push in evidence.pushes {
        let owner = push.event.and_then(|event| owners.get(&event).copied());
        match (owner, push.user) {
            (None, _) => findings
                .add(Invariant::Phantom, format!("a push of {:?}, which nobody committed", push.event)),
            (Some(owner), Some(user)) if owner == user => {
                if push.accepted {
                    findings.pushes_accepted += 1;
                    accepted.entry(user).or_default().push(push);
                }
            }
            (Some(owner), user) => {
                findings.add(Invariant::Leak, format!("an event of user {owner} was pushed to {user:?}"));
            }
        }
    }
    accepted
}

fn check_lost(
    row: &Row,
    party: &Party,
    seen: &Seen,
    handed: &[&Push],
    evidence: &Evidence<'_>,
    findings: &mut Findings,
) {
    let Row { user, seq, .. } = row;
    if !seen.arrived_at.contains_key(&row.id) {
        findings.add(Invariant::Lost, format!("user {user} seq {seq} came never, not even when asked for"));
        return;
    }
    // A push says "there is news up to this seq", so a later one covers it.
    let pushed = handed
        .iter()
        .any(|push| push.seq >= *seq && push.at >= row.created_at && push.at <= evidence.recalled_at);
    let waits_for_a_connect = !row.pushable || !party.has_phone;
    let told = seen.shown.contains(&row.id);
    // A client that remembers misses nothing, pushed or not.
    let excused = !(party.is_attached() && party.resumes) && (pushed || waits_for_a_connect);
    if !told && !excused {
        findings.add(Invariant::Lost, format!("user {user} seq {seq} was neither shown nor pushed"));
    }
}

fn check_earned(row: &Row, seen: &Seen, handed: &[&Push], findings: &mut Findings) {
    let Row { user, seq, .. } = row;
    let by = row.settled_at.unwrap_or(Millis::MAX).saturating_add(TOLERANCE_MS);
    let earned = match row.outcome.as_deref() {
        None => true,
        Some("delivered") => seen.arrived_at.get(&row.id).is_some_and(|at| *at <= by),
        Some("pushed") => handed.iter().any(|push| push.seq >= *seq && push.at <= by),
        Some(_) => false,
    };
    if !earned {
        let outcome = row.outcome.as_deref().unwrap_or_default();
        findings.add(Invariant::Unearned, format!("user {user} seq {seq} counts as {outcome}, and is not"));
    }
}
