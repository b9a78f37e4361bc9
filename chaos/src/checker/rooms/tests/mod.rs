//! Small histories of one room, each with one thing wrong: what the checker must see.

use uuid::Uuid;

use crate::checker::{Evidence, Findings, Invariant, judge};
use crate::history::{Answer, Millis, Record, fingerprint};
use crate::rooms::history::{Attempt, From, Heard, Moved, RoomRecord, Told, Wish, Word};
use crate::rooms::truth::{Changed, Message, RoomTruth};
use crate::rooms::{Part, Room, Seat};

mod hearing;
mod people;

/// The owner, a member, one who comes back by seq, a guest, and a stranger.
const OWNER: usize = 0;
const MEMBER: usize = 1;
const BY_SEQ: usize = 2;
const GUEST: usize = 3;
const STRANGER: usize = 4;

/// Two messages of the owner at 1,000 and 2,000, and a reaction of the member to the first; all heard them live.
struct Story {
    room: Room,
    truth: RoomTruth,
    records: Vec<Record>,
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn message(seq: i64, revision: i64) -> Message {
    Message {
        id: id(seq.unsigned_abs().into()),
        seq,
        revision,
        author: Some(OWNER),
        client_id: format!("c-{seq}"),
        content: fingerprint("Hello"),
        is_deleted: false,
        created_at: 1_000 * revision,
    }
}

fn changed(revision: i64, seq: i64, change: &str, user: usize) -> Changed {
    let (message, by, user) = (message(seq, 0).id, id(100 + user as u128), Some(user));
    let emoji = change.starts_with("reaction").then(|| "+1".to_owned());
    Changed { revision, message, change: change.to_owned(), by, user, emoji }
}

fn wish(change: &Changed) -> Wish {
    let (message, emoji) = (change.message, "+1".to_owned());
    match change.change.as_str() {
        "edited" => Wish::Edit { message },
        "deleted" => Wish::Delete { message },
        "reaction_added" => Wish::React { message, emoji },
        _ => Wish::TakeBack { message, emoji },
    }
}

fn attempt(user: usize, wish: Wish, answer: Answer, place: Option<(Uuid, i64)>) -> Record {
    let (room, sent_at, answered_at, said) = (0, 0, 1, None);
    Record::Room(RoomRecord::Attempt(Attempt { user, room, wish, sent_at, answered_at, answer, said, place }))
}

fn sent(message: &Message, answer: Answer) -> Record {
    let place = (answer == Answer::Done).then_some((message.id, message.seq));
    attempt(OWNER, Wish::Send { client_id: message.client_id.clone() }, answer, place)
}

fn heard(user: usize, at: Millis, word: Word) -> Record {
    let connection = user as u64;
    Record::Room(RoomRecord::Heard(Heard { user, connection, room: 0, at, word }))
}

fn told(user: usize, revision: i64, change: Told) -> Record {
    heard(user, 1_000 * revision + 50, Word::Change { revision, change })
}

fn created(message: &Message) -> Told {
    Told::Created { message: message.id, seq: message.seq, content: message.content }
}

fn told_of(change: &Changed) -> Told {
    let Changed { message, by, .. } = *change;
    let emoji = || change.emoji.clone().unwrap_or_default();
    match change.change.as_str() {
        "edited" => Told::Edited { message, content: fingerprint("Hello") },
        "deleted" => Told::Deleted { message },
        "reaction_added" => Told::ReactionAdded { message, by, emoji: emoji() },
        _ => Told::ReactionRemoved { message, by, emoji: emoji() },
    }
}

fn moved(out: bool, began_at: Millis, ended_at: Millis) -> Record {
    Record::Room(RoomRecord::Moved(Moved { room: 0, guest: GUEST, out, began_at, ended_at, certain: true }))
}

fn asked(user: usize, from: From) -> Record {
    heard(user, 0, Word::Asked { from })
}

impl Story {
    fn good() -> Self {
        let parts = [Part::Owner, Part::Member, Part::Member, Part::Guest, Part::Stranger];
        let seats = parts.into_iter().enumerate();
        let seats = seats.map(|(user, part)| Seat { user, part, by_seq: user == BY_SEQ }).collect();
        let room = Room { index: 0, id: id(9), seats };
        let mut story = Self {
            room,
            truth: RoomTruth { members: vec![OWNER, MEMBER, BY_SEQ, GUEST], ..RoomTruth::default() },
            records: Vec::new(),
        };
        for user in [OWNER, MEMBER, BY_SEQ, GUEST] {
            let from = if user == BY_SEQ { From::Seq(0) } else { From::Revision(0) };
            story.records.push(asked(user, from));
            story.records.push(heard(user, 1, Word::Joined { seq: 0, revision: 0 }));
        }
        story.records.push(asked(STRANGER, From::Revision(0)));
        story.records.push(heard(STRANGER, 1, Word::Denied { code: "forbidden".to_owned() }));
        story.write(1, 1);
        story.change(changed(2, 1, "reaction_added", MEMBER));
        story.write(2, 3);
        story
    }

    fn members() -> [usize; 4] {
        [OWNER, MEMBER, BY_SEQ, GUEST]
    }

    fn write(&mut self, seq: i64, revision: i64) {
        let message = message(seq, revision);
        self.records.push(sent(&message, Answer::Done));
        self.records.extend(Self::members().map(|user| told(user, revision, created(&message))));
        self.truth.messages.push(message);
        (self.truth.last_seq, self.truth.last_revision) = (seq, revision);
    }

    fn change(&mut self, change: Changed) {
        self.records.push(attempt(change.user.unwrap(), wish(&change), Answer::Done, None));
        self.records.extend(Self::members().map(|user| told(user, change.revision, told_of(&change))));
        if change.change == "reaction_added" {
            self.truth.reactions.push((change.message, change.by, "+1".to_owned()));
        }
        self.truth.last_revision = change.revision;
        self.truth.changes.push(change);
    }

    /// Takes the guest out at revision 4; what is written then has revision 5, and the others hear it.
    fn remove_guest(&mut self) {
        self.truth.last_revision = 4;
        self.records.push(moved(true, 4_000, 4_100));
        self.records.push(heard(GUEST, 4_050, Word::Unsubscribed { reason: "removed".to_owned() }));
        self.write(3, 5);
        self.forget(GUEST, 5);
        self.truth.members.retain(|member| *member != GUEST);
    }

    /// The user was not told this revision.
    fn forget(&mut self, user: usize, revision: i64) {
        self.records.retain(|record| !is_told(record, user, revision));
    }

    fn judge(&self) -> Findings {
        judge(&Evidence {
            parties: &[],
            records: &self.records,
            rows: &[],
            pushes: &[],
            rooms: &[(self.room.clone(), self.truth.clone())],
            recalled_at: 1_000_000,
            overdue_after_healing: 0,
        })
    }

    fn found(&self) -> Vec<Invariant> {
        self.judge().violations.into_keys().collect()
    }
}

fn is_told(record: &Record, user: usize, of: i64) -> bool {
    let Record::Room(RoomRecord::Heard(Heard { user: whom, word, .. })) = record else { return false };
    *whom == user && matches!(word, Word::Change { revision, .. } if *revision == of)
}

#[test]
fn a_good_run_is_clean() {
    let findings = Story::good().judge();
    assert!(findings.is_clean(), "{findings:?}");
    let counts = findings.rooms;
    assert_eq!((counts.messages, counts.changes, counts.done, counts.told), (2, 1, 3, 12));
}

#[test]
fn what_nobody_committed_is_a_phantom() {
    let mut made_up = Story::good();
    made_up.records.push(told(MEMBER, 4, created(&message(3, 4))));
    assert_eq!(made_up.found(), [Invariant::Phantom]);

    let mut altered = Story::good();
    altered.truth.messages[1].content = fingerprint("something else");
    assert_eq!(altered.found(), [Invariant::Phantom]);

    let mut gone = Story::good();
    gone.truth.reactions.clear();
    assert_eq!(gone.found(), [Invariant::Phantom]);

    let mut out_of_the_blue = Story::good();
    let unasked = Word::Change { revision: 3, change: created(&out_of_the_blue.truth.messages[1]) };
    let (user, connection, room, at, word) = (MEMBER, 77, 0, 9_000, unasked);
    out_of_the_blue.records.push(Record::Room(RoomRecord::Heard(Heard { user, connection, room, at, word })));
    assert_eq!(out_of_the_blue.found(), [Invariant::Phantom]);
}

#[test]
fn an_answered_message_is_there_once_however_often_it_was_sent() {
    let mut again = Story::good();
    let first = again.truth.messages[0].clone();
    again.records.extend([
        sent(&first, Answer::Unknown),
        sent(&first, Answer::Done),
        sent(&first, Answer::Refused),
    ]);
    assert_eq!(again.found(), []);

    let mut lost = Story::good();
    lost.records.push(sent(&message(9, 9), Answer::Done));
    assert_eq!(lost.found(), [Invariant::Lost]);

    let mut elsewhere = Story::good();
    let wish = Wish::Send { client_id: first.client_id.clone() };
    elsewhere.records.push(attempt(OWNER, wish, Answer::Done, Some((first.id, 2))));
    assert_eq!(elsewhere.found(), [Invariant::Phantom]);

    let mut twice = Story::good();
    twice.truth.messages[1].client_id = first.client_id;
    assert_eq!(twice.found(), [Invariant::Lost, Invariant::Phantom]);
}

#[test]
fn what_was_refused_is_not_there_and_what_is_unknown_may_be() {
    let answered = |answer| {
        let mut story = Story::good();
        story.records.retain(|record| !matches!(record, Record::Room(RoomRecord::Attempt(_))));
        for message in &story.truth.messages {
            story.records.push(sent(message, answer));
        }
        let change = &story.truth.changes[0];
        story.records.push(attempt(MEMBER, wish(change), answer, None));
        story.records.push(sent(&message(9, 9), Answer::Unknown));
        story.found()
    };
    assert_eq!(answered(Answer::Unknown), []);
    assert_eq!(answered(Answer::Refused), [Invariant::Phantom]);
}

#[test]
fn an_answered_change_that_did_not_happen_is_lost() {
    let mut story = Story::good();
    story.records.push(attempt(OWNER, wish(&changed(4, 1, "deleted", OWNER)), Answer::Done, None));
    assert_eq!(story.found(), [Invariant::Lost]);
    story.change(changed(4, 1, "deleted", OWNER));
    story.truth.messages[0].is_deleted = true;
    // Twice for once.
    assert_eq!(story.found(), [Invariant::Lost]);
}

#[test]
fn a_gap_in_the_database_is_disorder_unless_somebody_was_taken_out() {
    let mut revision = Story::good();
    revision.write(3, 5);
    assert_eq!(revision.found(), [Invariant::Disorder]);
    revision.records.push(moved(true, 4_000, 4_100));
    revision.records.push(moved(false, 4_200, 4_300));
    assert_eq!(revision.found(), []);

    let mut seq = Story::good();
    seq.write(4, 4);
    assert_eq!(seq.found(), [Invariant::Disorder]);

    let mut head = Story::good();
    head.truth.last_seq = 3;
    assert_eq!(head.found(), [Invariant::Disorder]);
}
