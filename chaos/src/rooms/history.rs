//! What happened in rooms, as those saw it who were there: a part of the history.

use serde::Serialize;
use uuid::Uuid;

use crate::history::{Answer, Millis};

/// What somebody wants of a room.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "wish", rename_all = "snake_case")]
pub enum Wish {
    /// The same `client_id` again is the same message.
    Send {
        client_id: String,
    },
    Edit {
        message: Uuid,
    },
    Delete {
        message: Uuid,
    },
    /// Nobody uses an emoji twice at one message.
    React {
        message: Uuid,
        emoji: String,
    },
    TakeBack {
        message: Uuid,
        emoji: String,
    },
}

/// Somebody wanted something once, and what they know of it.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    pub user: usize,
    pub room: usize,
    #[serde(flatten)]
    pub wish: Wish,
    pub sent_at: Millis,
    pub answered_at: Millis,
    pub answer: Answer,
    /// The HTTP status, or the code of an `ERROR`.
    pub said: Option<String>,
    /// The message and its seq, as the answer to a sending names them.
    pub place: Option<(Uuid, i64)>,
}

/// A guest was taken out, or in again.
#[derive(Clone, Debug, Serialize)]
pub struct Moved {
    pub room: usize,
    pub guest: usize,
    pub out: bool,
    pub began_at: Millis,
    pub ended_at: Millis,
    /// Whether it was done for certain: asked until it was. Otherwise nothing more was done in this room.
    pub certain: bool,
}

/// From where somebody wants to hear a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum From {
    Seq(i64),
    Revision(i64),
}

/// What a client said or heard of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "heard", rename_all = "snake_case")]
pub enum Word {
    /// It said `SUBSCRIBE`.
    Asked { from: From },
    /// `OK`: it has been told all up to here.
    Joined { seq: i64, revision: i64 },
    /// `ERROR`
    Denied { code: String },
    /// `UNSUBSCRIBED`
    Unsubscribed { reason: String },
    /// `ROOM_RESYNC`
    Resync { reason: String, from_seq: i64, revision: i64 },
    /// A change, with its place among all of them.
    Change { revision: i64, change: Told },
    /// What has no place, such as that somebody types.
    Passing { kind: String },
}

/// A change, as its frame tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Told {
    Created { message: Uuid, seq: i64, content: u64 },
    Edited { message: Uuid, content: u64 },
    Deleted { message: Uuid },
    ReactionAdded { message: Uuid, by: Uuid, emoji: String },
    ReactionRemoved { message: Uuid, by: Uuid, emoji: String },
}

/// Something about a room on somebody's connection.
#[derive(Clone, Debug, Serialize)]
pub struct Heard {
    pub user: usize,
    pub connection: u64,
    pub room: usize,
    pub at: Millis,
    #[serde(flatten)]
    pub word: Word,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "of_room", rename_all = "snake_case")]
pub enum RoomRecord {
    Attempt(Attempt),
    Moved(Moved),
    Heard(Heard),
}
