//! What all phones and callers have measured and found, as it happens.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// Longer than any run waits for anything.
const LONGEST_US: u64 = 600_000_000;
/// Of each fault.
const EXAMPLES_MAX: usize = 5;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    /// From when a change was due to its frame on the partner's phone.
    Delivery,
    /// The same to the phone of whoever made it.
    OwnFrame,
    /// From when a message was due to its frame on the phone of each member.
    Message,
    /// From when a change or a message was due to its answer.
    Answer,
    /// From when it was due until it was sent: how late we are ourselves.
    Sent,
    /// From when a change was due to its frame on a phone that was away by its own choice.
    CatchUp,
    /// A handshake.
    Connect,
    /// From the first attempt to come back until everything missed was there.
    Resume,
}

impl Span {
    pub const ALL: [Self; 8] = [
        Self::Delivery,
        Self::OwnFrame,
        Self::Message,
        Self::Answer,
        Self::Sent,
        Self::CatchUp,
        Self::Connect,
        Self::Resume,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::Delivery => "due → partner's frame",
            Self::OwnFrame => "due → own frame",
            Self::Message => "due → frame in a room",
            Self::Answer => "due → answered",
            Self::Sent => "due → sent (our own lag)",
            Self::CatchUp => "due → frame after an absence",
            Self::Connect => "WS connect",
            Self::Resume => "WS resume",
        }
    }
}

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A change was answered 2xx, and its event never came, not even when its receiver asked for it.
    Lost,
    /// An event came only when its receiver was called back after the run, and nothing had woken their phone.
    NotWoken,
    /// One connection brought an event twice, or one that its client had named as seen.
    Duplicate,
    /// One connection brought an event before an earlier one, or left one out.
    Disorder,
    /// An event of a change that nobody made, that was refused, or that is somebody else's.
    Phantom,
    /// A client was told to read the state although everything that it missed is kept.
    Resync,
    /// A change was not even sent: the schedule was not kept.
    NotSent,
    /// Something was still to be settled when the run gave up waiting.
    Unsettled,
}

impl Fault {
    pub const ALL: [Self; 8] = [
        Self::Lost,
        Self::NotWoken,
        Self::Duplicate,
        Self::Disorder,
        Self::Phantom,
        Self::Resync,
        Self::NotSent,
        Self::Unsettled,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::NotWoken => "not woken",
            Self::Duplicate => "duplicates",
            Self::Disorder => "out of order",
            Self::Phantom => "phantoms",
            Self::Resync => "needless RESYNC",
            Self::NotSent => "not sent",
            Self::Unsettled => "unsettled",
        }
    }
}

/// How often something happened, and the first few cases.
#[derive(Clone, Debug, Default)]
pub struct Cases {
    pub count: u64,
    pub examples: Vec<String>,
}

#[derive(Debug, Default)]
pub struct Counts {
    pub spans: BTreeMap<Span, Histogram<u64>>,
    pub faults: BTreeMap<Fault, Cases>,
    /// Events that a client dropped because it had seen them on an earlier connection.
    pub repeats: u64,
    /// Connections that the server ended, by close code; 1006 without one.
    pub closes: BTreeMap<u16, u64>,
    /// Handshakes that were refused, by HTTP status; 0 without an answer.
    pub refused: BTreeMap<u16, u64>,
    /// Measurements that goose did not take: its user had ended, or the queue was full.
    pub unreported: u64,
}

impl Counts {
    pub fn faulty(&self, fault: Fault) -> u64 {
        self.faults.get(&fault).map_or(0, |cases| cases.count)
    }
}

/// Shared by all tasks of a run.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

impl Tally {
    pub fn time(&self, span: Span, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).clamp(1, LONGEST_US);
        let mut counts = self.0.lock();
        let histogram = counts.spans.entry(span).or_insert_with(|| {
            Histogram::new_with_max(LONGEST_US, 3).expect("these bounds are what the histogram takes")
        });
        histogram.saturating_record(micros);
    }

    pub fn fault(&self, fault: Fault, case: impl FnOnce() -> String) {
        let mut counts = self.0.lock();
        let cases = counts.faults.entry(fault).or_default();
        cases.count += 1;
        if cases.examples.len() < EXAMPLES_MAX {
            cases.examples.push(case());
        }
    }

    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock());
    }

    /// Everything so far; it begins anew.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut *self.0.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_and_the_first_cases_kept() {
        let tally = Tally::default();
        for number in 0..9 {
            tally.fault(Fault::Lost, || number.to_string());
        }
        let counts = tally.take();
        assert_eq!(counts.faulty(Fault::Lost), 9);
        assert_eq!(counts.faults[&Fault::Lost].examples, ["0", "1", "2", "3", "4"]);
        assert_eq!(counts.faulty(Fault::Duplicate), 0);
    }

    #[test]
    fn times_are_kept_to_a_thousandth() {
        let tally = Tally::default();
        tally.time(Span::Delivery, Duration::from_millis(20));
        tally.time(Span::Delivery, Duration::from_hours(1));
        let counts = tally.take();
        let delivery = &counts.spans[&Span::Delivery];
        assert_eq!(delivery.len(), 2);
        assert!(delivery.min().abs_diff(20_000) <= 20);
        assert!(delivery.max() >= LONGEST_US);
    }
}
