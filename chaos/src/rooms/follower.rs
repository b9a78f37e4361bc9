//! What a person's phone says and hears about rooms, on the socket that it has.
//!
//! It subscribes to its rooms on every new connection, from where it was, and asks again after a refusal: whoever was taken out
//! may have been taken in again. What it was not answered it sends again with the same `clientId`, on the next connection.

use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use super::history::{Attempt, From, Heard, RoomRecord, Wish, Word};
use super::memory::{Frame, RoomMemory};
use super::{Part, Progress, Room};
use crate::client::Phase;
use crate::history::{Answer, Millis, Record, Recorder, now};

const ASK_AGAIN: Duration = Duration::from_secs(1);
const STRANGERS_ASK_AGAIN: Duration = Duration::from_secs(3);
const SEND_AGAIN: Duration = Duration::from_secs(1);
/// While so many wait, no more are taken on.
const OUTBOX_MAX: usize = 8;
/// Codes of `ERROR` after which a message may have been written nevertheless.
const UNKNOWN: [&str; 2] = ["unavailable", "internal"];

/// A message that somebody wants to send over their socket.
pub struct Letter {
    pub room: usize,
    pub client_id: String,
}

pub struct Follower {
    user: usize,
    connection: u64,
    rooms: Vec<Following>,
    letters: mpsc::Receiver<Letter>,
    outbox: Vec<Unanswered>,
}

struct Following {
    room: Room,
    asks_again: Duration,
    by_seq: bool,
    memory: RoomMemory,
    /// How often it has subscribed: an answer is to the last time, or worth nothing.
    asked: usize,
    /// When to subscribe; `None`: it has, on this connection.
    ask_at: Option<Instant>,
}

struct Unanswered {
    letter: Letter,
    /// `None`: it waits for `due`.
    sent_at: Option<Millis>,
    due: Instant,
}

impl Follower {
    pub fn new(user: usize, rooms: &[Room], letters: mpsc::Receiver<Letter>) -> Self {
        let rooms = rooms.iter().filter_map(|room| {
            let seat = room.seat_of(user)?;
            let asks_again = if seat.part == Part::Stranger { STRANGERS_ASK_AGAIN } else { ASK_AGAIN };
            let (room, memory, by_seq) = (room.clone(), RoomMemory::default(), seat.by_seq);
            Some(Following { room, asks_again, by_seq, memory, asked: 0, ask_at: None })
        });
        Self { user, connection: 0, rooms: rooms.collect(), letters, outbox: Vec::new() }
    }

    /// A new connection, which knows of nothing.
    pub fn connected(&mut self, connection: u64) {
        self.connection = connection;
        for following in &mut self.rooms {
            following.ask_at = Some(Instant::now());
        }
    }

    /// The connection is no more: what was not answered may be done.
    pub fn disconnected(&mut self, recorder: &Recorder) {
        for unanswered in &mut self.outbox {
            if let Some(sent_at) = unanswered.sent_at.take() {
                recorder.add(attempt(self.user, &unanswered.letter, sent_at, Answer::Unknown, None, None));
            }
        }
    }

    /// Waits for something to send. Cancel-safe: a letter is taken, or it stays.
    pub async fn letter(&mut self) {
        if self.outbox.len() < OUTBOX_MAX
            && let Some(letter) = self.letters.recv().await
        {
            self.outbox.push(Unanswered { letter, sent_at: None, due: Instant::now() });
            return;
        }
        // Nobody writes any more, or there is enough to do.
        std::future::pending::<()>().await;
    }

    /// When there is something to say; `None`: not before something happens.
    pub fn due_at(&self, phase: Phase) -> Option<Instant> {
        let letters =
            self.outbox.iter().filter(|it| it.sent_at.is_none() && may_send(phase)).map(|it| it.due);
        self.rooms.iter().filter_map(|following| following.ask_at).chain(letters).min()
    }

    /// What has to be said now.
    pub fn due(&mut self, phase: Phase, recorder: &Recorder) -> Vec<String> {
        let at = Instant::now();
        let mut commands = Vec::new();
        for following in self.rooms.iter_mut().filter(|it| it.ask_at.is_some_and(|due| due <= at)) {
            following.ask_at = None;
            following.asked += 1;
            let from = following.memory.from(following.by_seq);
            let mut command =
                json!({"type": "SUBSCRIBE", "channelId": following.room.id, "ref": following.reference()});
            match from {
                From::Seq(seq) => command["since"] = seq.into(),
                From::Revision(revision) => command["revision"] = revision.into(),
            }
            commands.push(command.to_string());
            let (user, connection, room) = (self.user, self.connection, following.room.index);
            let word = Word::Asked { from };
            recorder.add(Record::Room(RoomRecord::Heard(Heard { user, connection, room, at: now(), word })));
        }
        for unanswered in self.outbox.iter_mut().filter(|it| it.sent_at.is_none() && it.due <= at) {
            let Letter { room, client_id } = &unanswered.letter;
            let room = self.rooms.iter().find(|following| following.room.index == *room);
            let Some(room) = room.filter(|_| may_send(phase)) else { continue };
            let (channel, content) = (room.room.id, client_id);
            let command = json!({
                "type": "SEND", "channelId": channel, "content": content, "clientId": client_id, "ref": client_id,
            });
            commands.push(command.to_string());
            unanswered.sent_at = Some(now());
        }
        commands
    }

    /// Takes down what a frame says about rooms. Returns whether it is about them.
    pub fn read(&mut self, text: &str, recorder: &Recorder, progress: &Progress) -> bool {
        let Ok(frame) = serde_json::from_str::<Frame>(text) else { return false };
        if matches!(frame.r#type.as_str(), "OK" | "ERROR") {
            return self.read_answer(&frame, recorder, progress);
        }
        let Some((room, word)) = frame.channel_id.zip(frame.word()) else { return false };
        // Of which room nobody told it: the checker knows none with this number.
        let place = self.rooms.iter().position(|following| following.room.id == room);
        self.hear(place, word, recorder, progress);
        true
    }

    fn read_answer(&mut self, frame: &Frame, recorder: &Recorder, progress: &Progress) -> bool {
        let Some(reference) = frame.r#ref.as_deref() else { return false };
        if let Some(place) = self.rooms.iter().position(|following| following.reference() == reference) {
            let word = match (&frame.code, frame.seq, frame.revision) {
                (None, Some(seq), Some(revision)) => Word::Joined { seq, revision },
                (code, ..) => Word::Denied { code: code.clone().unwrap_or_default() },
            };
            self.hear(Some(place), word, recorder, progress);
            return true;
        }
        let Some(at) = self.outbox.iter().position(|it| it.letter.client_id == reference) else {
            return false;
        };
        let Some(sent_at) = self.outbox[at].sent_at.take() else { return true };
        let answer = match frame.code.as_deref() {
            None => Answer::Done,
            Some(code) if UNKNOWN.contains(&code) => Answer::Unknown,
            Some(_) => Answer::Refused,
        };
        let place = frame.message_id.zip(frame.seq);
        recorder.add(attempt(self.user, &self.outbox[at].letter, sent_at, answer, frame.code.clone(), place));
        if answer == Answer::Unknown {
            self.outbox[at].due = Instant::now() + SEND_AGAIN;
        } else {
            self.outbox.swap_remove(at);
        }
        true
    }

    fn hear(&mut self, place: Option<usize>, word: Word, recorder: &Recorder, progress: &Progress) {
        let (user, connection, at) = (self.user, self.connection, now());
        let following = place.and_then(|place| self.rooms.get_mut(place));
        let room = following.as_ref().map_or(usize::MAX, |following| following.room.index);
        if let Some(following) = following {
            following.memory.hear(&word);
            progress.told.lock().insert((user, room), following.memory.revision);
            if matches!(word, Word::Denied { .. } | Word::Unsubscribed { .. }) {
                following.ask_at = Some(Instant::now() + following.asks_again);
            }
        }
        recorder.add(Record::Room(RoomRecord::Heard(Heard { user, connection, room, at, word })));
    }
}

impl Following {
    fn reference(&self) -> String {
        format!("room-{}-{}", self.room.index, self.asked)
    }
}

/// What is sent last must be heard by everybody before the end.
fn may_send(phase: Phase) -> bool {
    phase <= Phase::Calm
}

fn attempt(
    user: usize,
    letter: &Letter,
    sent_at: Millis,
    answer: Answer,
    said: Option<String>,
    place: Option<(Uuid, i64)>,
) -> Record {
    let wish = Wish::Send { client_id: letter.client_id.clone() };
    let (room, answered_at) = (letter.room, now());
    Record::Room(RoomRecord::Attempt(Attempt { user, room, wish, sent_at, answered_at, answer, said, place }))
}
