//! What came over the sockets: genuine, for whom it is, once, in order, without a gap.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{Evidence, Findings, Invariant};
use crate::history::{Arrival, Opened, Record};
use crate::truth::Row;

/// How far one connection is.
struct Progress {
    /// Events must follow each other from here on; not yet so on a connection that named no seq.
    resumed: bool,
    since: i64,
    last: i64,
    seen: HashSet<i64>,
}

impl Progress {
    fn new(opened: &Opened) -> Self {
        let since = opened.since.unwrap_or(0);
        Self { resumed: opened.since.is_some(), since, last: since, seen: HashSet::new() }
    }
}

pub fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    let rows: HashMap<Uuid, &Row> = evidence.rows.iter().map(|row| (row.id, row)).collect();
    let mut connections: HashMap<u64, Progress> = HashMap::new();
    let mut seen: HashSet<(usize, Uuid)> = HashSet::new();
    for record in evidence.records {
        match record {
            Record::Opened(opened) => {
                findings.connections += 1;
                connections.insert(opened.connection, Progress::new(opened));
            }
            Record::Resync(resync) => {
                findings.add(Invariant::Resync, format!("user {}: {}", resync.user, resync.reason));
                if let Some(progress) = connections.get_mut(&resync.connection) {
                    progress.last = resync.from_seq;
                }
            }
            Record::Arrival(arrival) => {
                findings.arrivals += 1;
                check_genuine(arrival, rows.get(&arrival.id).copied(), findings);
                let is_new = seen.insert((arrival.user, arrival.id));
                if let Some(progress) = connections.get_mut(&arrival.connection) {
                    check_order(arrival, is_new, progress, findings);
                }
            }
            Record::Change(_) | Record::Ended(_) | Record::Room(_) => {}
        }
    }
}

fn check_genuine(arrival: &Arrival, row: Option<&Row>, findings: &mut Findings) {
    let Arrival { user, seq, .. } = arrival;
    match row {
        None => {
            findings.add(Invariant::Phantom, format!("user {user} got seq {seq}, which nobody committed"));
        }
        Some(row) if row.user != *user => {
            findings.add(Invariant::Leak, format!("user {user} got an event of user {}", row.user));
        }
        Some(row) if row.seq != *seq || row.fingerprint != arrival.fingerprint => {
            findings.add(Invariant::Phantom, format!("user {user} seq {seq} is not what was committed"));
        }
        Some(_) => {}
    }
}

fn check_order(arrival: &Arrival, is_new: bool, progress: &mut Progress, findings: &mut Findings) {
    let Arrival { user, connection, seq, .. } = arrival;
    if !progress.seen.insert(*seq) || *seq <= progress.since {
        findings.add(Invariant::Duplicate, format!("user {user} seq {seq} twice on connection {connection}"));
        return;
    }
    if !is_new {
        findings.raw_duplicates += 1;
    }
    if *seq < progress.last || (progress.resumed && *seq != progress.last + 1) {
        findings.add(
            Invariant::Disorder,
            format!("user {user} seq {seq} after {} on connection {connection}", progress.last),
        );
    }
    progress.last = progress.last.max(*seq);
}
