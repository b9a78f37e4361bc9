//! What each connection was told of a room: genuine, in order, once, and without a gap but where one is allowed.

use std::collections::{BTreeMap, HashMap};

use super::heard;
use super::log::{Log, Step};
use crate::checker::{Findings, Invariant};
use crate::history::Record;
use crate::rooms::history::{From, Heard, Told, Word};

/// `delivery.rooms.replay_changes_max`: whoever missed more reads the state.
const REPLAYED_MAX: i64 = 1_000;

/// What one person was told, on all their connections.
#[derive(Default)]
pub struct ToldTo<'a> {
    pub changes: BTreeMap<i64, &'a Told>,
    /// After the one revision, up to the other, they had to read the state instead.
    pub skipped: Vec<(i64, i64)>,
}

impl ToldTo<'_> {
    pub fn skipped(&self, revision: i64) -> bool {
        self.skipped.iter().any(|(after, up_to)| (after + 1..=*up_to).contains(&revision))
    }
}

/// How far a connection is.
struct Ear {
    by_seq: bool,
    joined: bool,
    seq: i64,
    revision: i64,
}

pub fn check<'a>(
    log: &Log<'_>,
    records: &'a [Record],
    findings: &mut Findings,
) -> HashMap<usize, ToldTo<'a>> {
    let mut ears: HashMap<u64, Ear> = HashMap::new();
    let mut told: HashMap<usize, ToldTo<'a>> = HashMap::new();
    for heard in records.iter().filter_map(heard).filter(|heard| heard.room == log.room.index) {
        let Heard { user, connection, word, room, .. } = heard;
        match word {
            Word::Asked { from } => {
                ears.insert(*connection, Ear::from(*from));
                continue;
            }
            Word::Change { .. } => findings.rooms.told += 1,
            Word::Joined { .. } => findings.rooms.joined += 1,
            _ => {}
        }
        let to = told.entry(*user).or_default();
        let trouble = match (ears.get_mut(connection), word) {
            (Some(ear), _) => ear.hear(word, to, log),
            // Who is taken out while they subscribe is told so and refused, in any order.
            (None, Word::Passing { .. } | Word::Denied { .. } | Word::Unsubscribed { .. }) => None,
            (None, _) => Some((Invariant::Phantom, "without a subscription".to_owned())),
        };
        if let Some((invariant, trouble)) = trouble {
            findings.add(
                invariant,
                format!("room {room}: user {user}, connection {connection}: {word:?} {trouble}"),
            );
        }
        if let Word::Unsubscribed { reason } = word
            && !(reason == "removed" && log.removals.iter().any(|removal| removal.user == *user))
        {
            findings.add(
                Invariant::Phantom,
                format!("room {room}: user {user} was not taken out, and is told so"),
            );
        }
        if matches!(word, Word::Unsubscribed { .. } | Word::Denied { .. }) {
            ears.remove(connection);
        }
    }
    told
}

fn is_of(told: &Told, step: &Step<'_>) -> bool {
    match (told, step) {
        (Told::Created { message, seq, .. }, Step::Written(it)) => (*message, *seq) == (it.id, it.seq),
        (Told::Edited { message, .. }, Step::Changed(it)) => it.change == "edited" && *message == it.message,
        (Told::Deleted { message }, Step::Changed(it)) => it.change == "deleted" && *message == it.message,
        (Told::ReactionAdded { message, by, emoji }, Step::Changed(it)) => {
            let is_same = (*message, *by, Some(emoji)) == (it.message, it.by, it.emoji.as_ref());
            it.change == "reaction_added" && is_same
        }
        (Told::ReactionRemoved { message, by, emoji }, Step::Changed(it)) => {
            let is_same = (*message, *by, Some(emoji)) == (it.message, it.by, it.emoji.as_ref());
            it.change == "reaction_removed" && is_same
        }
        _ => false,
    }
}

impl Ear {
    fn from(from: From) -> Self {
        match from {
            From::Seq(seq) => Self { by_seq: true, joined: false, seq, revision: 0 },
            From::Revision(revision) => Self { by_seq: false, joined: false, seq: 0, revision },
        }
    }

    /// Who comes back by `seq` is only told the messages, until they have joined.
    fn hears_messages_only(&self) -> bool {
        self.by_seq && !self.joined
    }

    /// Goes on with what was heard. Returns what is wrong with it.
    fn hear<'a>(
        &mut self,
        word: &'a Word,
        to: &mut ToldTo<'a>,
        log: &Log<'_>,
    ) -> Option<(Invariant, String)> {
        let before = format!("after revision {}, seq {}", self.revision, self.seq);
        match word {
            Word::Change { revision, change } => {
                let is_genuine = log.step(*revision).is_some_and(|step| is_of(change, step));
                let is_again = to.changes.insert(*revision, change).is_some() || *revision <= self.revision;
                let follows = self.follows(*revision, change, log);
                self.go_on(*revision, change);
                match (is_genuine, is_again, follows) {
                    (false, ..) => Some((Invariant::Phantom, "is not what was committed".to_owned())),
                    (_, true, _) => Some((Invariant::Duplicate, before)),
                    (.., false) => Some((Invariant::Disorder, before)),
                    _ => None,
                }
            }
            Word::Joined { seq, revision } => {
                let has_all = self.has_all_up_to(*seq, *revision, log);
                (self.joined, self.seq, self.revision) = (true, *seq, *revision);
                (!has_all).then_some((Invariant::Disorder, before))
            }
            Word::Resync { reason, from_seq, revision } => {
                let missed =
                    if self.hears_messages_only() { from_seq - self.seq } else { revision - self.revision };
                to.skipped.push((self.revision, *revision));
                (self.seq, self.revision) = (*from_seq, *revision);
                let is_needed = reason == "too_far_behind" && missed > REPLAYED_MAX;
                (!is_needed).then_some((Invariant::Resync, before))
            }
            _ => None,
        }
    }

    fn follows(&self, revision: i64, change: &Told, log: &Log<'_>) -> bool {
        if !self.hears_messages_only() {
            return log.between(self.revision, revision).next().is_none();
        }
        match change {
            Told::Created { seq, .. } => *seq == self.seq + 1,
            // What happens while they read is told as well.
            _ => true,
        }
    }

    fn go_on(&mut self, revision: i64, change: &Told) {
        self.revision = self.revision.max(revision);
        if let Told::Created { seq, .. } = change {
            self.seq = self.seq.max(*seq);
        }
    }

    fn has_all_up_to(&self, seq: i64, revision: i64, log: &Log<'_>) -> bool {
        if self.hears_messages_only() {
            return self.seq == seq;
        }
        self.revision <= revision && log.between(self.revision, revision + 1).next().is_none()
    }
}
