//! All that was said in a room: when it was due, what was answered, and at which place it stands. Pure.

use std::collections::BTreeMap;

use tokio::time::Instant;
use uuid::Uuid;

use crate::ledger::{Answer, Oddity};

#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// By its place among the room's people.
    pub author: usize,
    pub due: Instant,
    pub answer: Answer,
    seq: Option<i64>,
}

#[derive(Debug, Default)]
pub struct Minutes {
    said: Vec<Said>,
    /// Which message stands at each place, as it was first told.
    places: BTreeMap<i64, (usize, Uuid)>,
    /// The highest place that anybody was told of.
    head: i64,
}

impl Minutes {
    /// Notes a message before it is sent. Returns its number.
    pub fn begin(&mut self, author: usize, due: Instant) -> usize {
        self.said.push(Said { author, due, answer: Answer::Pending, seq: None });
        self.said.len() - 1
    }

    /// What became of it, and where it stands. The first answer that says something counts.
    pub fn answered(&mut self, number: usize, answer: Answer, seq: Option<i64>) -> Result<(), Oddity> {
        let said = self.said.get_mut(number).ok_or(Oddity::Unknown)?;
        if matches!(said.answer, Answer::Pending | Answer::Unknown) {
            said.answer = answer;
        }
        match seq {
            Some(seq) => self.stands_at(number, seq),
            None => Ok(()),
        }
    }

    /// Somebody was told a message of this number.
    pub fn heard(&mut self, number: usize, author: usize, (seq, id): (i64, Uuid)) -> Result<Said, Oddity> {
        let said = *self.said.get(number).filter(|said| said.author == author).ok_or(Oddity::Unknown)?;
        self.stands_at(number, seq)?;
        match self.places.insert(seq, (number, id)) {
            Some(before) if before != (number, id) => Err(Oddity::ToldTwice),
            _ => Ok(said),
        }
    }

    /// A message stands at one place, whoever says so.
    fn stands_at(&mut self, number: usize, seq: i64) -> Result<(), Oddity> {
        self.head = self.head.max(seq);
        let before = self.said[number].seq.replace(seq);
        if before.is_none_or(|before| before == seq) { Ok(()) } else { Err(Oddity::ToldTwice) }
    }

    pub fn head(&self) -> i64 {
        self.head
    }

    /// The id of the last message that anybody has heard.
    pub fn last(&self) -> Option<Uuid> {
        self.places.last_key_value().map(|(_, (_, id))| *id)
    }

    pub fn all(&self) -> &[Said] {
        &self.said
    }

    pub fn is_answered(&self) -> bool {
        self.said.iter().all(|said| said.answer != Answer::Pending)
    }

    /// Messages that were refused and nevertheless have a place.
    pub fn phantoms(&self) -> usize {
        self.said.iter().filter(|said| said.answer == Answer::Refused && said.seq.is_some()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn a_message_has_one_place_whoever_tells_it() {
        let mut minutes = Minutes::default();
        assert_eq!(minutes.begin(1, Instant::now()), 0);
        assert!(!minutes.is_answered());
        minutes.heard(0, 1, (1, id(1))).unwrap();
        minutes.answered(0, Answer::Done, Some(1)).unwrap();
        assert!(minutes.is_answered());
        assert_eq!((minutes.head(), minutes.last()), (1, Some(id(1))));
        assert_eq!(minutes.heard(0, 1, (2, id(1))).unwrap_err(), Oddity::ToldTwice);
        assert_eq!(minutes.answered(0, Answer::Done, Some(3)), Err(Oddity::ToldTwice));
    }

    #[test]
    fn a_place_has_one_message() {
        let mut minutes = Minutes::default();
        for _ in 0..2 {
            minutes.begin(0, Instant::now());
        }
        minutes.heard(0, 0, (1, id(1))).unwrap();
        assert_eq!(minutes.heard(1, 0, (1, id(2))).unwrap_err(), Oddity::ToldTwice);
    }

    #[test]
    fn what_nobody_said_is_odd_and_so_is_what_was_refused() {
        let mut minutes = Minutes::default();
        assert_eq!(minutes.heard(0, 0, (1, id(1))).unwrap_err(), Oddity::Unknown);
        minutes.begin(0, Instant::now());
        assert_eq!(minutes.heard(0, 1, (1, id(1))).unwrap_err(), Oddity::Unknown, "another author");
        minutes.answered(0, Answer::Refused, None).unwrap();
        assert_eq!(minutes.phantoms(), 0);
        minutes.heard(0, 0, (1, id(1))).unwrap();
        assert_eq!(minutes.phantoms(), 1);
    }
}
