//! What a member hears, and what is wrong with it.

use std::sync::atomic::Ordering;

use super::Member;
use crate::chat::frame::{Created, Frame};
use crate::chat::talk;
use crate::ledger::{Answer, Oddity};
use crate::sight::Look;
use crate::tally::{Fault, Span};

impl Member {
    pub(super) fn hear(&mut self, frame: Frame) {
        match frame {
            Frame::Created(created) => self.heard(&created),
            Frame::Sent { number, seq } => self.answered(number, Answer::Done, Some(seq), None),
            Frame::NotSent { number, definitely, code } => {
                let answer = if definitely { Answer::Refused } else { Answer::Unknown };
                self.answered(number, answer, None, Some(code));
            }
            Frame::Typing { user } if user == self.room.people[self.place].id => {
                self.fault(Fault::Phantom, || "was told that they are typing themselves".to_owned());
            }
            Frame::Resync { from_seq } => {
                self.fault(Fault::Resync, || format!("from seq {from_seq}"));
                self.sight.resync(from_seq);
            }
            Frame::Unsubscribed => self.fault(Fault::Phantom, || "was removed by nobody".to_owned()),
            _ => {}
        }
    }

    fn heard(&mut self, created: &Created) {
        let Created { id, seq, author, client_id } = created;
        let sighting = self.sight.see(*seq, *id);
        self.seat().heard.store(self.sight.since(0), Ordering::Relaxed);
        if !sighting.in_order {
            self.fault(Fault::Disorder, || format!("seq {seq}"));
        }
        match sighting.look {
            Look::New => {}
            Look::Repeat => return self.world.tally.count(|counts| counts.repeats += 1),
            Look::Duplicate => return self.fault(Fault::Duplicate, || format!("seq {seq}")),
        }
        let author = author.and_then(|author| self.room.people.iter().position(|it| it.id == author));
        let number = client_id.as_deref().and_then(talk::number_of);
        let (Some(author), Some(number)) = (author, number) else {
            return self.fault(Fault::Phantom, || format!("seq {seq}, called {client_id:?}"));
        };
        let heard = self.room.minutes.lock().heard(number, author, (*seq, *id));
        match heard {
            Ok(said) => {
                let took = said.due.elapsed();
                self.world.tally.time(Span::Message, took);
                self.report("message", took, None, None);
            }
            Err(Oddity::Unknown) => self.fault(Fault::Phantom, || format!("seq {seq}, message {number}")),
            Err(Oddity::ToldTwice) => self.fault(Fault::Duplicate, || format!("seq {seq}, message {number}")),
        }
    }

    fn answered(&mut self, number: usize, answer: Answer, seq: Option<i64>, error: Option<String>) {
        // Said twice, answered twice: it is the same message.
        let is_first = self.unanswered.remove(&number);
        let due = self.room.minutes.lock().all().get(number).map(|said| said.due);
        if let Some(due) = due.filter(|_| is_first) {
            self.report("SEND", due.elapsed(), None, error);
        }
        talk::answer(&self.world, &self.room, number, (answer, seq));
    }

    fn fault(&self, fault: Fault, case: impl FnOnce() -> String) {
        let (room, who) = (self.room.id, self.room.people[self.place].id);
        self.world.tally.fault(fault, || format!("room {room}, {who}: {}", case()));
    }
}
