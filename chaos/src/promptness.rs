//! How soon people had their events, while something was broken and after. Pure.
//!
//! Measured at witnesses: who is connected whenever they can be, and comes back with `since`.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use crate::checker::{Evidence, Party};
use crate::history::{Answer, Millis, Record};
use crate::nemesis::Strike;
use crate::truth::Row;

/// What was committed so shortly before may have been hit on its way.
const ON_ITS_WAY_MS: Millis = 1_000;

/// Delays of a set of events, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Delays {
    pub events: usize,
    pub p50_ms: Millis,
    pub p99_ms: Millis,
    pub max_ms: Millis,
}

impl Delays {
    fn of(mut delays: Vec<Millis>) -> Self {
        delays.sort_unstable();
        let at = |percent: usize| {
            let rank = (delays.len() * percent).div_ceil(100).max(1);
            delays.get(rank - 1).copied().unwrap_or(0)
        };
        Self { events: delays.len(), p50_ms: at(50), p99_ms: at(99), max_ms: at(100) }
    }
}

/// How one strike was borne.
#[derive(Debug, Serialize)]
pub struct Bearing {
    #[serde(flatten)]
    pub strike: Strike,
    /// From the commit to the witness or the push service, of what was committed meanwhile.
    pub during: Delays,
    /// From the healing (or the commit, if later), of what came only after the healing.
    pub recovery: Delays,
    /// How long after the healing a request was still made that was not done.
    pub requests_failed_ms: Millis,
    pub goal_during_ms: Option<Millis>,
    pub goal_after_ms: Millis,
    pub within_goals: bool,
}

/// What happened to each event, by id.
struct Handling<'a> {
    evidence: &'a Evidence<'a>,
    arrived_at: HashMap<Uuid, Millis>,
    pushed_at: HashMap<Uuid, Millis>,
}

impl<'a> Handling<'a> {
    fn new(evidence: &'a Evidence<'a>) -> Self {
        let mut arrived_at = HashMap::new();
        for record in evidence.records {
            if let Record::Arrival(arrival) = record {
                arrived_at.entry(arrival.id).or_insert(arrival.at);
            }
        }
        let mut pushed_at = HashMap::new();
        for push in evidence.pushes.iter().filter(|push| push.accepted) {
            if let Some(event) = push.event {
                pushed_at.entry(event).or_insert(push.at);
            }
        }
        Self { evidence, arrived_at, pushed_at }
    }

    /// The witnesses' events that were committed from one moment to another.
    fn committed(&self, from: Millis, to: Millis) -> impl Iterator<Item = &Row> {
        let parties = self.evidence.parties;
        self.evidence.rows.iter().filter(move |row| {
            parties.get(row.user).is_some_and(Party::is_witness) && (from..to).contains(&row.created_at)
        })
    }

    /// When it was shown or handed over. Never: it is counted as lost elsewhere.
    fn handled_at(&self, row: &Row) -> Option<Millis> {
        let (arrived, pushed) = (self.arrived_at.get(&row.id), self.pushed_at.get(&row.id));
        arrived.into_iter().chain(pushed).min().copied()
    }
}

/// From commit to witness while nothing is broken.
pub fn healthy(evidence: &Evidence<'_>, from: Millis, to: Millis) -> Delays {
    let handling = Handling::new(evidence);
    let delays =
        handling.committed(from, to).filter_map(|row| Some(handling.handled_at(row)? - row.created_at));
    Delays::of(delays.collect())
}

/// How each strike was borne; the goals are multiplied by `patience`, for machines that are busy.
pub fn bearings(evidence: &Evidence<'_>, strikes: &[Strike], patience: u32) -> Vec<Bearing> {
    let handling = Handling::new(evidence);
    let next = strikes.iter().skip(1).map(|strike| strike.struck_at).chain([Millis::MAX]);
    let bearings = strikes.iter().zip(next).map(|(strike, next)| Bearing {
        requests_failed_ms: requests_failed(evidence, strike.healed_at, next),
        ..bearing(&handling, strike, patience)
    });
    bearings.collect()
}

fn requests_failed(evidence: &Evidence<'_>, healed_at: Millis, next: Millis) -> Millis {
    let failed = evidence.records.iter().filter_map(|record| match record {
        Record::Change(change) if change.answer != Answer::Done => Some(change.sent_at),
        _ => None,
    });
    failed.filter(|at| (healed_at..next).contains(at)).max().map_or(0, |last| last - healed_at)
}

fn bearing(handling: &Handling<'_>, strike: &Strike, patience: u32) -> Bearing {
    let ms = |goal: Duration| Millis::try_from((goal * patience).as_millis()).unwrap_or(Millis::MAX);
    let goals = || strike.faults.iter().map(|fault| fault.goal());
    // Of a pair, what the slower one is promised; nothing if nothing is promised of one.
    let goal_during = goals().map(|goal| goal.during).collect::<Option<Vec<_>>>();
    let goal_during_ms = goal_during.and_then(|goals| goals.into_iter().max()).map(ms);
    let goal_after_ms = goals().map(|goal| goal.after).max().map_or(0, ms);

    let (mut during, mut recovery) = (Vec::new(), Vec::new());
    for row in handling.committed(strike.struck_at - ON_ITS_WAY_MS, strike.healed_at) {
        let Some(handled_at) = handling.handled_at(row) else { continue };
        // What no push can tell waits for its connection.
        if row.pushable && handling.evidence.parties[row.user].has_phone {
            during.push(handled_at - row.created_at);
        }
        if handled_at > strike.healed_at {
            recovery.push(handled_at - strike.healed_at);
        }
    }
    let (during, recovery) = (Delays::of(during), Delays::of(recovery));
    let within_goals =
        goal_during_ms.is_none_or(|goal| during.max_ms <= goal) && recovery.max_ms <= goal_after_ms;
    let strike = strike.clone();
    Bearing { strike, during, recovery, requests_failed_ms: 0, goal_during_ms, goal_after_ms, within_goals }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sample() {
        assert_eq!(Delays::of(Vec::new()), Delays::default());
        let delays = Delays::of((1..=200).collect());
        assert_eq!(delays, Delays { events: 200, p50_ms: 100, p99_ms: 198, max_ms: 200 });
    }
}
