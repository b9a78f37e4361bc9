//! What everybody did and saw, as it happened: the evidence that the checker judges.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use fanlight::domain::clock::{Clock as _, SystemClock};
use parking_lot::Mutex;
use serde::Serialize;
use uuid::Uuid;

use crate::rooms::history::RoomRecord;

/// Epoch ms, of the one clock that this machine has: ours, the nodes' and Postgres'.
pub type Millis = i64;

pub fn now() -> Millis {
    SystemClock.now().timestamp_millis()
}

/// What a sender knows of its change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Answered 200: it is committed.
    Done,
    /// Definitely not done.
    Refused,
    /// No answer, or one that says nothing (5xx): it may be committed.
    Unknown,
}

/// Somebody changed their light. `name` is the duration asked for, in seconds: each change of a person asks for
/// another, so that the events tell which change they are of, whether or not it was answered.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    pub actor: usize,
    pub name: i64,
    pub sent_at: Millis,
    pub answered_at: Millis,
    pub answer: Answer,
    /// The HTTP status, if there was one.
    pub status: Option<u16>,
}

/// A socket that was opened.
#[derive(Clone, Debug, Serialize)]
pub struct Opened {
    pub user: usize,
    pub connection: u64,
    pub at: Millis,
    pub since: Option<i64>,
    /// After the storm, to fetch what was missed: what comes this way was kept, but not shown in time.
    pub recall: bool,
}

/// A durable event that came over a socket.
#[derive(Clone, Debug, Serialize)]
pub struct Arrival {
    pub user: usize,
    pub connection: u64,
    pub at: Millis,
    pub seq: i64,
    pub id: Uuid,
    pub fingerprint: u64,
}

/// The server said that the state must be read.
#[derive(Clone, Debug, Serialize)]
pub struct Resync {
    pub user: usize,
    pub connection: u64,
    pub at: Millis,
    pub from_seq: i64,
    pub reason: String,
}

/// A socket that ended, with the close code; 1006 if there was none.
#[derive(Clone, Debug, Serialize)]
pub struct Ended {
    pub user: usize,
    pub connection: u64,
    pub at: Millis,
    pub code: u16,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    Change(Change),
    Opened(Opened),
    Arrival(Arrival),
    Resync(Resync),
    Ended(Ended),
    Room(RoomRecord),
}

/// Takes down everything, in order. Bounded by the length of the run.
#[derive(Default)]
pub struct Recorder {
    records: Mutex<Vec<Record>>,
}

impl Recorder {
    pub fn add(&self, record: Record) {
        self.records.lock().push(record);
    }

    pub fn records(&self) -> Vec<Record> {
        self.records.lock().clone()
    }
}

/// Tells one text from another in eight bytes.
pub fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
