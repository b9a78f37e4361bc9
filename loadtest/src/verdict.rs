//! Judges a run: what was answered against what came, and the limits.

use std::collections::HashMap;
use std::ops::AddAssign;

use anyhow::ensure;
use fanlight::dev::fcm::Entry;
use hdrhistogram::Histogram;

use crate::ledger::{Answer, Arrival, Change, Ledger, Topic};
use crate::tally::{Counts, Fault, Span, Tally};

/// What the fake FCM keeps; beyond it, it forgets.
const PUSHES_LOGGED_MAX: usize = 20_000;

/// What may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub p99_ms: u64,
    pub errors_percent: f64,
}

/// How many changes became what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub done: u64,
    pub refused: u64,
    /// Without an answer, or with one that says nothing.
    pub unknown: u64,
    /// Status changes of which both nodes are known, ...
    pub placed: u64,
    /// ... and those that one node took and another one delivered.
    pub crossed: u64,
}

#[derive(Debug)]
pub struct Verdict {
    pub changes: Changes,
    pub messages: Changes,
    pub counts: Counts,
    pub requests: u64,
    pub requests_failed: u64,
    /// Sentences; none if the run is well.
    pub complaints: Vec<String>,
}

impl Verdict {
    pub fn passed(&self) -> bool {
        self.complaints.is_empty()
    }
}

/// The pushes that FCM took, by token: when, and up to which seq.
#[derive(Debug, Default)]
pub struct Pushes(HashMap<String, Vec<(i64, i64)>>);

impl Pushes {
    /// # Errors
    /// When there are more than the fake FCM remembers: then nobody knows.
    pub fn of(log: Vec<Entry>) -> anyhow::Result<Self> {
        ensure!(log.len() < PUSHES_LOGGED_MAX, "more pushes than the fake FCM remembers: make a shorter run");
        let mut pushes = Self::default();
        for Entry { at, token, message, .. } in log.into_iter().filter(|entry| entry.outcome == "accepted") {
            let seq = message["data"]["seq"].as_str().and_then(|seq| seq.parse().ok()).unwrap_or(0);
            pushes.0.entry(token).or_default().push((at, seq));
        }
        Ok(pushes)
    }

    pub fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// A push says "there is news up to this seq", so a later one covers an earlier event.
    fn cover(&self, token: &str, seq: i64, by: i64) -> bool {
        let of_token = self.0.get(token).map_or(&[][..], Vec::as_slice);
        of_token.iter().any(|(at, up_to)| *up_to >= seq && *at <= by)
    }
}

/// Compares what a couple has changed with what came; `pushes` holds those up to the recall (epoch ms), if anybody
/// saw them.
pub fn compare(
    (couple, ledger): (&str, &Ledger),
    fcm_tokens: [&str; 2],
    pushes: Option<(&Pushes, i64)>,
    tally: &Tally,
) -> Changes {
    let mut changes = Changes::default();
    for topic in Topic::ALL {
        for (number, change) in ledger.changes(topic).iter().enumerate() {
            changes.count(topic, change);
            let name = || format!("couple {couple}: {topic:?} {number} of side {}", change.actor);
            check(change, tally, &name);
            let partner = 1 - change.actor;
            if let (Some(Arrival::Recalled(seq)), Some((pushes, by))) = (change.seen[partner], pushes)
                && !pushes.cover(fcm_tokens[partner], seq, by)
            {
                tally.fault(Fault::NotWoken, || format!("{}, seq {seq}", name()));
            }
        }
    }
    changes
}

fn check(change: &Change, tally: &Tally, name: &impl Fn() -> String) {
    for (side, seen) in change.seen.iter().enumerate() {
        match (change.answer, seen) {
            (Answer::Done, None) => tally.fault(Fault::Lost, || format!("{}, for side {side}", name())),
            (Answer::Refused, Some(_)) => {
                tally.fault(Fault::Phantom, || format!("{} was refused and told to side {side}", name()));
            }
            _ => {}
        }
    }
}

impl AddAssign for Changes {
    fn add_assign(&mut self, other: Self) {
        self.done += other.done;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.placed += other.placed;
        self.crossed += other.crossed;
    }
}

impl Changes {
    fn count(&mut self, topic: Topic, change: &Change) {
        *match change.answer {
            Answer::Done => &mut self.done,
            Answer::Refused => &mut self.refused,
            Answer::Pending | Answer::Unknown => &mut self.unknown,
        } += 1;
        if topic == Topic::Status
            && let (Some(taken), Some(shown)) = (&change.node, &change.partner_node)
        {
            self.placed += 1;
            self.crossed += u64::from(taken != shown);
        }
    }
}

/// The last word on the changes of couples, and the messages of rooms.
pub fn judge(
    [changes, messages]: [Changes; 2],
    counts: Counts,
    [requests, failed]: [u64; 2],
    limits: Limits,
) -> Verdict {
    let mut complaints = Vec::new();
    for fault in Fault::ALL {
        let count = counts.faulty(fault);
        if count > 0 {
            complaints.push(format!("{}: {count}, and none may be", fault.title()));
        }
    }
    for (changes, name) in [(changes, "change"), (messages, "message")] {
        if changes.done == 0 && changes.refused + changes.unknown > 0 {
            complaints.push(format!("no {name} was answered well"));
        }
    }
    for span in [Span::Delivery, Span::Message] {
        if let Some(p99) = counts.spans.get(&span).map(|times| times.value_at_quantile(0.99))
            && p99 > limits.p99_ms * 1_000
        {
            let (title, may) = (span.title(), limits.p99_ms);
            complaints.push(format!("p99 of {title}: {}, and {may} ms may be", millis(p99)));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^52 requests")]
    let percent = failed as f64 * 100.0 / requests.max(1) as f64;
    if percent > limits.errors_percent {
        complaints
            .push(format!("{percent:.3} % of the requests failed, and {} % may", limits.errors_percent));
    }
    if requests == 0 {
        complaints.push("nobody did anything".to_owned());
    }
    Verdict { changes, messages, counts, requests, requests_failed: failed, complaints }
}

/// Microseconds, for people.
pub fn millis(micros: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "no run lasts 2^52 µs")]
    let millis = micros as f64 / 1_000.0;
    if millis < 100.0 { format!("{millis:.2} ms") } else { format!("{millis:.0} ms") }
}

/// The quantiles of a line of the report.
pub fn quantiles(histogram: &Histogram<u64>) -> [u64; 5] {
    [0.5, 0.9, 0.99, 0.999, 1.0].map(|quantile| histogram.value_at_quantile(quantile))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use tokio::time::Instant;

    use super::*;

    const LIMITS: Limits = Limits { p99_ms: 100, errors_percent: 1.0 };

    /// One change of side 0 that was answered well and that both have seen.
    fn good() -> Ledger {
        let mut ledger = changed(Answer::Done);
        for side in 0..2 {
            ledger.arrived(Topic::Status, 0, side, Arrival::Shown, Some("node-1")).unwrap();
        }
        ledger
    }

    fn changed(answer: Answer) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.begin(Topic::Status, 0, Instant::now());
        ledger.answered(Topic::Status, 0, answer, Some("node-2".to_owned()));
        ledger
    }

    fn pushed(seq: i64, at: i64, outcome: &str) -> Pushes {
        let message = json!({"data": {"seq": seq.to_string()}});
        let entry = Entry { at, token: "b".to_owned(), message, attempt: 1, outcome: outcome.to_owned() };
        Pushes::of(vec![entry]).unwrap()
    }

    fn found(ledger: &Ledger, pushes: &Pushes) -> Vec<Fault> {
        let tally = Tally::default();
        compare(("0", ledger), ["a", "b"], Some((pushes, 1_000)), &tally);
        tally.take().faults.into_keys().collect()
    }

    #[test]
    fn a_good_run_is_well_and_says_where_its_changes_went() {
        let tally = Tally::default();
        let changes = compare(("0", &good()), ["a", "b"], None, &tally);
        assert_eq!(changes, Changes { done: 1, placed: 1, crossed: 1, ..Changes::default() });
        let verdict = judge([changes, Changes::default()], tally.take(), [100, 1], LIMITS);
        assert!(verdict.passed(), "{verdict:?}");
    }

    #[test]
    fn what_was_answered_and_never_came_is_lost() {
        assert_eq!(found(&changed(Answer::Done), &Pushes::default()), [Fault::Lost]);
        assert_eq!(found(&changed(Answer::Unknown), &Pushes::default()), []);
    }

    #[test]
    fn what_was_refused_and_came_is_a_phantom() {
        let mut ledger = good();
        ledger.answered(Topic::Status, 0, Answer::Refused, None);
        assert_eq!(found(&ledger, &Pushes::default()), [Fault::Phantom]);
    }

    #[test]
    fn who_was_called_back_must_have_been_pushed_before() {
        let mut ledger = changed(Answer::Done);
        ledger.arrived(Topic::Status, 0, 0, Arrival::Shown, None).unwrap();
        ledger.arrived(Topic::Status, 0, 1, Arrival::Recalled(7), None).unwrap();
        assert_eq!(found(&ledger, &pushed(7, 900, "accepted")), []);
        // A later one covers it.
        assert_eq!(found(&ledger, &pushed(9, 900, "accepted")), []);
        for not_enough in
            [pushed(6, 900, "accepted"), pushed(7, 1_100, "accepted"), pushed(7, 900, "UNREGISTERED")]
        {
            assert_eq!(found(&ledger, &not_enough), [Fault::NotWoken]);
        }
    }

    #[test]
    fn a_run_that_is_slow_fails_often_or_does_nothing_does_not_pass() {
        let tally = Tally::default();
        tally.time(Span::Delivery, Duration::from_millis(200));
        let done = Changes { done: 1, ..Changes::default() };
        assert_eq!(judge([done, Changes::default()], tally.take(), [100, 1], LIMITS).complaints.len(), 1);
        assert_eq!(judge([done, Changes::default()], tally.take(), [100, 2], LIMITS).complaints.len(), 1);
        assert_eq!(
            judge([Changes::default(), Changes::default()], tally.take(), [0, 0], LIMITS).complaints.len(),
            1
        );
        tally.time(Span::Message, Duration::from_millis(200));
        assert_eq!(judge([done, done], tally.take(), [100, 0], LIMITS).complaints.len(), 1);
        let unknown = Changes { unknown: 1, ..Changes::default() };
        assert_eq!(judge([unknown, Changes::default()], tally.take(), [100, 0], LIMITS).complaints.len(), 1);
    }

    #[test]
    fn each_fault_fails_the_run() {
        for fault in Fault::ALL {
            let tally = Tally::default();
            tally.fault(fault, String::new);
            let done = Changes { done: 1, ..Changes::default() };
            assert!(!judge([done, Changes::default()], tally.take(), [1, 0], LIMITS).passed(), "{fault:?}");
        }
    }
}
