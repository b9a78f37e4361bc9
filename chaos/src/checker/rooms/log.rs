//! All that happened in one room, by its revision; and whether the database counts it well.

use std::collections::{BTreeMap, HashSet};

use super::of_room;
use crate::checker::{Findings, Invariant};
use crate::history::{Millis, Record};
use crate::rooms::Room;
use crate::rooms::history::{Moved, RoomRecord};
use crate::rooms::truth::{Changed, Message, RoomTruth};

pub enum Step<'a> {
    Written(&'a Message),
    Changed(&'a Changed),
}

/// A guest was taken out, and nothing later is for them until they are in it again.
#[derive(Clone, Copy, Debug)]
pub struct Removal {
    pub user: usize,
    pub revision: i64,
    pub done_at: Millis,
    /// From when on they may be in it again.
    pub back_at: Millis,
}

pub struct Log<'a> {
    pub room: &'a Room,
    pub truth: &'a RoomTruth,
    pub removals: Vec<Removal>,
    steps: BTreeMap<i64, Step<'a>>,
    /// Reactions that were taken back, or went with their message: who missed them need not be told.
    undone: HashSet<i64>,
}

impl<'a> Log<'a> {
    pub fn new(room: &'a Room, truth: &'a RoomTruth, records: &'a [Record], findings: &mut Findings) -> Self {
        let written = truth.messages.iter().map(|message| (message.revision, Step::Written(message)));
        let changed = truth.changes.iter().map(|change| (change.revision, Step::Changed(change)));
        let steps: BTreeMap<i64, Step<'a>> = written.chain(changed).collect();
        check_seqs(room, truth, findings);
        let gaps: Vec<i64> =
            (1..=truth.last_revision).filter(|revision| !steps.contains_key(revision)).collect();
        if steps.last_key_value().is_some_and(|(last, _)| *last > truth.last_revision) {
            findings.add(
                Invariant::Disorder,
                format!("room {}: more changes than its last revision says", room.index),
            );
        }
        let removals = removals(room, records, &gaps, findings);
        Self { room, truth, removals, undone: undone(&truth.changes), steps }
    }

    pub fn step(&self, revision: i64) -> Option<&Step<'a>> {
        self.steps.get(&revision)
    }

    pub fn steps(&self) -> impl Iterator<Item = (i64, &Step<'a>)> {
        self.steps.iter().map(|(revision, step)| (*revision, step))
    }

    /// Those changes after one revision, and before another, that have to be told to whoever hears the room.
    pub fn between(&self, after: i64, before: i64) -> impl Iterator<Item = i64> {
        let range = if after < before { after + 1..before } else { before..before };
        self.steps
            .range(range)
            .map(|(revision, _)| *revision)
            .filter(|revision| !self.undone.contains(revision))
    }
}

/// 1, 2, 3, … in the order of commits, which is that of the revisions.
fn check_seqs(room: &Room, truth: &RoomTruth, findings: &mut Findings) {
    let mut last = (0, 0);
    for message in &truth.messages {
        if message.seq != last.0 + 1 || message.revision <= last.1 {
            let what = format!(
                "room {}: seq {} (revision {}) follows seq {} (revision {}) in the database",
                room.index, message.seq, message.revision, last.0, last.1
            );
            findings.add(Invariant::Disorder, what);
        }
        last = (message.seq, message.revision);
    }
    if last.0 != truth.last_seq {
        let what =
            format!("room {}: the last seq is {}, the channel says {}", room.index, last.0, truth.last_seq);
        findings.add(Invariant::Disorder, what);
    }
}

/// The gaps are the removals, in their order: one was done for certain before the next was asked for.
fn removals(room: &Room, records: &[Record], gaps: &[i64], findings: &mut Findings) -> Vec<Removal> {
    let moves: Vec<&Moved> = records
        .iter()
        .filter_map(of_room)
        .filter_map(|record| match record {
            RoomRecord::Moved(moved) if moved.room == room.index => Some(moved),
            _ => None,
        })
        .collect();
    let outs: Vec<usize> = (0..moves.len()).filter(|at| moves[*at].out).collect();
    let certain = outs.iter().filter(|at| moves[**at].certain).count();
    if !(certain..=outs.len()).contains(&gaps.len()) {
        let what = format!(
            "room {}: {certain} people were taken out, {} revisions are missing",
            room.index,
            gaps.len()
        );
        findings.add(Invariant::Disorder, what);
        return Vec::new();
    }
    let removals = outs.iter().zip(gaps).map(|(at, revision)| {
        let Moved { guest, ended_at, .. } = moves[*at];
        let back = moves[*at..].iter().find(|moved| !moved.out && moved.guest == *guest);
        let back_at = back.map_or(Millis::MAX, |back| back.began_at);
        Removal { user: *guest, revision: *revision, done_at: *ended_at, back_at }
    });
    removals.collect()
}

fn undone(changes: &[Changed]) -> HashSet<i64> {
    let (mut taken_back, mut deleted) = (HashSet::new(), HashSet::new());
    let mut undone = HashSet::new();
    for change in changes.iter().rev() {
        let reaction = (change.message, change.by, change.emoji.as_deref());
        match change.change.as_str() {
            "reaction_removed" => {
                taken_back.insert(reaction);
            }
            "deleted" => {
                deleted.insert(change.message);
            }
            "reaction_added" if taken_back.contains(&reaction) || deleted.contains(&change.message) => {
                undone.insert(change.revision);
            }
            _ => {}
        }
    }
    undone
}
