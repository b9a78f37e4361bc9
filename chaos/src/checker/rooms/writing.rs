//! What people wanted of a room against its log: what was answered is there, once; and nothing else is.

use std::collections::HashMap;

use uuid::Uuid;

use super::log::{Log, Step};
use super::of_room;
use crate::checker::{Findings, Invariant};
use crate::history::{Answer, Record};
use crate::rooms::history::{Attempt, RoomRecord, Wish};
use crate::rooms::truth::Changed;

/// What somebody wanted, however often they asked, and what came of it.
#[derive(Default)]
struct Wanted {
    done: usize,
    unknown: usize,
    /// Where the answers say that the message is.
    places: Vec<(Uuid, i64)>,
    /// Where it is.
    written: Vec<(Uuid, i64)>,
    changed: usize,
}

pub fn check(log: &Log<'_>, records: &[Record], findings: &mut Findings) {
    let mut wishes: HashMap<(Option<usize>, Wish), Wanted> = HashMap::new();
    for attempt in records.iter().filter_map(|record| attempt(record, log)) {
        let wanted = wishes.entry((Some(attempt.user), attempt.wish.clone())).or_default();
        let counts = &mut findings.rooms;
        counts.attempts += 1;
        match attempt.answer {
            Answer::Done => (wanted.done, counts.done) = (wanted.done + 1, counts.done + 1),
            Answer::Unknown => (wanted.unknown, counts.unknown) = (wanted.unknown + 1, counts.unknown + 1),
            Answer::Refused => counts.refused += 1,
        }
        wanted.places.extend(attempt.place);
    }
    for (_, step) in log.steps() {
        match step {
            Step::Written(message) => {
                let wish = Wish::Send { client_id: message.client_id.clone() };
                let wanted = wishes.entry((message.author, wish)).or_default();
                wanted.written.push((message.id, message.seq));
            }
            Step::Changed(change) => {
                wishes.entry((change.user, wish(change))).or_default().changed += 1;
            }
        }
    }
    for ((user, wish), wanted) in &wishes {
        let trouble = match wish {
            Wish::Send { .. } => wanted.trouble_of_message(),
            _ => wanted.trouble_of_change(),
        };
        if let Some((invariant, trouble)) = trouble {
            let what = format!("room {}: {wish:?} of user {user:?} {trouble}", log.room.index);
            findings.add(invariant, what);
        }
    }
}

fn attempt<'a>(record: &'a Record, log: &Log<'_>) -> Option<&'a Attempt> {
    match of_room(record)? {
        RoomRecord::Attempt(attempt) if attempt.room == log.room.index => Some(attempt),
        _ => None,
    }
}

fn wish(change: &Changed) -> Wish {
    let (message, emoji) = (change.message, change.emoji.clone().unwrap_or_default());
    match change.change.as_str() {
        "edited" => Wish::Edit { message },
        "deleted" => Wish::Delete { message },
        "reaction_added" => Wish::React { message, emoji },
        _ => Wish::TakeBack { message, emoji },
    }
}

impl Wanted {
    /// However often it was sent, it is one message.
    fn trouble_of_message(&self) -> Option<(Invariant, &'static str)> {
        match (self.written.as_slice(), self.done, self.unknown) {
            ([], 0, _) => None,
            ([], ..) => Some((Invariant::Lost, "was answered, and is not there")),
            ([_], 0, 0) => Some((Invariant::Phantom, "is there, although it was refused or never sent")),
            ([place], ..) if self.places.iter().any(|answered| answered != place) => {
                Some((Invariant::Phantom, "is not where the answer said"))
            }
            ([_], ..) => None,
            _ => Some((Invariant::Phantom, "is there more than once")),
        }
    }

    /// Each time that it was done, something changed: nobody wants to change what is so already.
    fn trouble_of_change(&self) -> Option<(Invariant, &'static str)> {
        if self.changed < self.done {
            Some((Invariant::Lost, "was answered, and did not happen"))
        } else if self.changed > self.done + self.unknown {
            Some((Invariant::Phantom, "happened, although it was refused or never asked for"))
        } else {
            None
        }
    }
}
