//! What a couple has changed, when each change was due, and which of their phones have seen it. Pure.
//!
//! A status change carries its number to the other phone: it asks to last a day and so many seconds, and the event says
//! until when. So an event names the moment at which it was due, whoever was late in between.

use tokio::time::Instant;

use crate::frame::Event;

/// The number 0 asks for a day, so that none lapses during a run; ...
const FIRST_DURATION_S: i64 = 86_400;
/// ... and the server takes a week at most.
const LONGEST_DURATION_S: i64 = 604_800;

/// One of the two people of a couple.
pub type Side = usize;

/// What a change is about; numbers are per topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    Status,
    Linked,
    Unlinked,
}

impl Topic {
    pub const ALL: [Self; 3] = [Self::Status, Self::Linked, Self::Unlinked];
}

/// What the caller knows of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not sent, or not answered yet.
    Pending,
    /// Answered 2xx: it is committed.
    Done,
    /// Definitely not done.
    Refused,
    /// No answer, or one that says nothing (5xx): it may be committed.
    Unknown,
}

/// How a phone came to see an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    Shown,
    /// Only when everybody was called back after the run, under this seq.
    Recalled(i64),
}

#[derive(Clone, Debug)]
pub struct Change {
    pub actor: Side,
    pub due: Instant,
    pub answer: Answer,
    /// Which node answered, where the load balancer says so.
    pub node: Option<String>,
    pub seen: [Option<Arrival>; 2],
    /// Where the partner's phone was connected when it saw it.
    pub partner_node: Option<String>,
}

/// What is wrong with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// Nobody made such a change.
    Unknown,
    /// The change was told already, under another seq.
    ToldTwice,
}

#[derive(Debug, Default)]
pub struct Ledger {
    topics: [Vec<Change>; 3],
}

impl Ledger {
    /// Notes a change before it is sent. Returns its number.
    pub fn begin(&mut self, topic: Topic, actor: Side, due: Instant) -> usize {
        let change =
            Change { actor, due, answer: Answer::Pending, node: None, seen: [None; 2], partner_node: None };
        let changes = &mut self.topics[topic as usize];
        changes.push(change);
        changes.len() - 1
    }

    pub fn answered(&mut self, topic: Topic, number: usize, answer: Answer, node: Option<String>) {
        if let Some(change) = self.topics[topic as usize].get_mut(number) {
            (change.answer, change.node) = (answer, node);
        }
    }

    /// Forgets the last change of a topic, which was refused: the phones count these topics' events.
    pub fn withdraw(&mut self, topic: Topic) {
        self.topics[topic as usize].pop();
    }

    /// Notes that a side's phone, connected to `node`, saw an event. Returns the change that it tells of.
    pub fn arrived(
        &mut self,
        topic: Topic,
        number: usize,
        side: Side,
        arrival: Arrival,
        node: Option<&str>,
    ) -> Result<&Change, Oddity> {
        let change = self.topics[topic as usize].get_mut(number).ok_or(Oddity::Unknown)?;
        if change.seen[side].replace(arrival).is_some() {
            return Err(Oddity::ToldTwice);
        }
        if side != change.actor {
            change.partner_node = node.map(str::to_owned);
        }
        Ok(change)
    }

    /// Whether nothing is under way that one of these sides can still see.
    pub fn is_settled(&self, present: [bool; 2]) -> bool {
        self.topics.iter().flatten().all(|change| match change.answer {
            Answer::Pending => false,
            Answer::Done => (0..2).all(|side| !present[side] || change.seen[side].is_some()),
            Answer::Refused | Answer::Unknown => true,
        })
    }

    pub fn changes(&self, topic: Topic) -> &[Change] {
        &self.topics[topic as usize]
    }
}

/// How long the change of this number asks to last; nothing if there are too many.
pub fn duration_of(number: usize) -> Option<i64> {
    let duration = FIRST_DURATION_S + i64::try_from(number).ok()?;
    (duration <= LONGEST_DURATION_S).then_some(duration)
}

/// The number of the status change that an event tells of.
pub fn number_of(event: &Event) -> Option<usize> {
    let duration = (event.status_expiration? - event.timestamp) / 1_000;
    usize::try_from(duration - FIRST_DURATION_S).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> Ledger {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.begin(Topic::Status, 0, Instant::now()), 0);
        ledger
    }

    #[test]
    fn a_change_is_settled_when_it_was_answered_and_all_who_are_there_have_seen_it() {
        let mut ledger = begun();
        assert!(!ledger.is_settled([true; 2]));
        ledger.answered(Topic::Status, 0, Answer::Done, None);
        ledger.arrived(Topic::Status, 0, 0, Arrival::Shown, None).unwrap();
        assert!(!ledger.is_settled([true; 2]));
        assert!(ledger.is_settled([true, false]));
        ledger.arrived(Topic::Status, 0, 1, Arrival::Shown, Some("node-2")).unwrap();
        assert!(ledger.is_settled([true; 2]));
        assert_eq!(ledger.changes(Topic::Status)[0].partner_node.as_deref(), Some("node-2"));
    }

    #[test]
    fn what_nobody_did_and_what_is_told_again_is_odd() {
        let mut ledger = begun();
        let oddity = |ledger: &mut Ledger, number| {
            ledger.arrived(Topic::Status, number, 1, Arrival::Shown, None).unwrap_err()
        };
        assert_eq!(oddity(&mut ledger, 1), Oddity::Unknown);
        ledger.arrived(Topic::Status, 0, 1, Arrival::Shown, None).unwrap();
        assert_eq!(oddity(&mut ledger, 0), Oddity::ToldTwice);
    }

    #[test]
    fn an_event_names_the_change_it_tells_of() {
        let duration = duration_of(7).unwrap();
        let event = Event { status_expiration: Some(5_000 + duration * 1_000), ..Event::at(5_000) };
        assert_eq!(number_of(&event), Some(7));
        assert_eq!(number_of(&Event::at(5_000)), None);
        assert_eq!(duration_of(1_000_000), None);
    }
}
