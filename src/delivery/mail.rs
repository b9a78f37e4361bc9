//! What a [`mailbox`](super::mailbox) holds.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::ids::EventId;
use crate::telemetry::traces::TraceContext;

/// Why we end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Farewell {
    /// The node stops.
    Leaving,
    /// The session was revoked.
    Revoked,
    /// A newer connection of the same device took over.
    Replaced,
    /// The queue is full.
    SlowConsumer,
}

/// A durable event's frame, and its place in the user's sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    pub id: EventId,
    pub seq: i64,
    pub frame: Bytes,
    /// Where in a trace its write belongs, if it is traced.
    pub trace: Option<TraceContext>,
}

/// A frame without a place in the user's sequence: what is not in Postgres, and what rooms tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub kind: NoticeKind,
    pub frame: Bytes,
}

impl Notice {
    #[must_use]
    pub fn lasting(frame: Bytes) -> Self {
        Self { kind: NoticeKind::Lasting, frame }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// Makes an earlier one with the same key void.
    State { key: Box<str> },
    /// Worth nothing later, such as that somebody is typing.
    Ephemeral,
    /// Follows what was left before it, and is not dropped: an answer, or what a room tells in its order.
    Lasting,
}

/// All that came since the last look.
#[derive(Debug, Default)]
pub struct Mail {
    pub events: VecDeque<Numbered>,
    pub notices: VecDeque<Notice>,
    /// A seq that exists, although its event may not be among `events`.
    pub newest_seq: i64,
    /// A deadline of this connection may have passed.
    pub tick: bool,
    pub farewell: Option<Farewell>,
}
