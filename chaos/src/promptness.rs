//! How soon people had their events, while something was broken and after. Pure.
//!
//! Measured at witnesses: who is connected whenever they can be, and comes back with `since`.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use crate::checker::{Evidence, Party};
use crate::faults::ROOMS_CONVERGE_WITHIN;
use crate::history::{Answer, Millis, Record};
use crate::nemesis::Strike;
use crate::rooms::Part;
use crate::rooms::history::{RoomRecord, Word};
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
    /// Likewise of what was written in rooms, until it was told to all witnesses there.
    pub rooms: Delays,
    /// How long after the healing a request was still made that was not done.
    pub requests_failed_ms: Millis,
    pub goal_during_ms: Option<Millis>,
    pub goal_after_ms: Millis,
    pub goal_rooms_ms: Millis,
    pub within_goals: bool,
}

/// What happened to each event, by id.
struct Handling<'a> {
    evidence: &'a Evidence<'a>,
    /// When a change of a room was told to somebody, by room, user and revision.
    told_at: HashMap<(usize, usize, i64), Millis>,
    arrived_at: HashMap<Uuid, Millis>,
    pushed_at: HashMap<Uuid, Millis>,
}

impl<'a> Handling<'a> {
    fn new(evidence: &'a Evidence<'a>) -> Self {
        let (mut arrived_at, mut told_at) = (HashMap::new(), HashMap::new());
        for record in evidence.records {
            match record {
                Record::Arrival(arrival) => {
                    arrived_at.entry(arrival.id).or_insert(arrival.at);
                }
                Record::Room(RoomRecord::Heard(heard)) => {
                    if let Word::Change { revision, .. } = heard.word {
                        told_at.entry((heard.room, heard.user, revision)).or_insert(heard.at);
                    }
                }
                _ => {}
            }
        }
        let mut pushed_at = HashMap::new();
        for push in evidence.pushes.iter().filter(|push| push.accepted) {
            if let Some(event) = push.event {
                pushed_at.entry(event).or_insert(push.at);
            }
        }
        Self { evidence, told_at, arrived_at, pushed_at }
    }

    /// The witnesses' events that were committed from one moment to another.
    fn committed(&self, from: Millis, to: Millis) -> impl Iterator<Item = &Row> {
        let parties = self.evidence.parties;
        self.evidence.rows.iter().filter(move |row| {
            parties.get(row.user).is_some_and(Party::is_witness) && (from..to).contains(&row.created_at)
        })
    }

    /// The messages that were written in rooms from one moment to another: when, and when each witness who stays there was
    /// told. Never: it is counted as lost elsewhere.
    fn written(&self, from: Millis, to: Millis) -> impl Iterator<Item = (Millis, Millis)> {
        let Evidence { rooms, parties, .. } = self.evidence;
        rooms.iter().flat_map(move |(room, truth)| {
            let messages =
                truth.messages.iter().filter(move |message| (from..to).contains(&message.created_at));
            messages.flat_map(move |message| {
                let stays = room.seats.iter().filter(|seat| matches!(seat.part, Part::Owner | Part::Member));
                let witnesses = stays.filter(|seat| parties.get(seat.user).is_some_and(Party::is_witness));
                witnesses.filter_map(move |seat| {
                    let told_at = self.told_at.get(&(room.index, seat.user, message.revision));
                    told_at.map(|told_at| (message.created_at, *told_at))
                })
            })
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

/// From being written to each witness in the room, while nothing is broken.
pub fn healthy_rooms(evidence: &Evidence<'_>, from: Millis, to: Millis) -> Delays {
    let handling = Handling::new(evidence);
    Delays::of(handling.written(from, to).map(|(written_at, told_at)| told_at - written_at).collect())
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
    let written = handling.written(strike.struck_at - ON_ITS_WAY_MS, strike.healed_at);
    let late = written.filter(|(_, told_at)| *told_at > strike.healed_at);
    let rooms = Delays::of(late.map(|(_, told_at)| told_at - strike.healed_at).collect());
    let goal_rooms_ms = goal_after_ms.max(ms(ROOMS_CONVERGE_WITHIN));
    let (during, recovery) = (Delays::of(during), Delays::of(recovery));
    let within_goals = goal_during_ms.is_none_or(|goal| during.max_ms <= goal)
        && recovery.max_ms <= goal_after_ms
        && rooms.max_ms <= goal_rooms_ms;
    Bearing {
        strike: strike.clone(),
        during,
        recovery,
        rooms,
        requests_failed_ms: 0,
        goal_during_ms,
        goal_after_ms,
        goal_rooms_ms,
        within_goals,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Party;
    use crate::faults::Fault;
    use crate::history::fingerprint;
    use crate::rooms::history::{Heard, Told};
    use crate::rooms::truth::{Message, RoomTruth};
    use crate::rooms::{Room, Seat};
    use crate::users::Habit;

    /// A message of 1,000, which the witness of the room was told then.
    fn rooms_borne(told_at: Millis) -> Bearing {
        let party = Party { partner: 1, habit: Habit::Steady, resumes: true, acks: false, has_phone: false };
        let seats = vec![Seat { user: 0, part: Part::Owner, by_seq: false }];
        let message = Message {
            id: Uuid::nil(),
            seq: 1,
            revision: 1,
            author: Some(0),
            client_id: String::new(),
            content: fingerprint(""),
            is_deleted: false,
            created_at: 1_000,
        };
        let change = Told::Created { message: message.id, seq: 1, content: message.content };
        let word = Word::Change { revision: 1, change };
        let heard = Heard { user: 0, connection: 0, room: 0, at: told_at, word };
        let truth = RoomTruth { messages: vec![message], ..RoomTruth::default() };
        let evidence = Evidence {
            parties: &[party],
            records: &[Record::Room(RoomRecord::Heard(heard))],
            rows: &[],
            pushes: &[],
            rooms: &[(Room { index: 0, id: Uuid::nil(), seats }, truth)],
            recalled_at: Millis::MAX,
            overdue_after_healing: 0,
        };
        let strike = Strike { faults: vec![Fault::RedisKill], struck_at: 500, healed_at: 5_000 };
        bearings(&evidence, &[strike], 1).pop().unwrap()
    }

    #[test]
    fn a_room_that_does_not_converge_in_time_misses_its_goal() {
        let meanwhile = rooms_borne(2_000);
        assert!(meanwhile.within_goals && meanwhile.rooms.events == 0, "{meanwhile:?}");
        let later = rooms_borne(17_000);
        assert!(later.within_goals && later.rooms.max_ms == 12_000, "{later:?}");
        assert!(!rooms_borne(17_001).within_goals);
    }

    #[test]
    fn percentiles_are_of_the_sample() {
        assert_eq!(Delays::of(Vec::new()), Delays::default());
        let delays = Delays::of((1..=200).collect());
        assert_eq!(delays, Delays { events: 200, p50_ms: 100, p99_ms: 198, max_ms: 200 });
    }
}
