//! What a room has told and will tell: the frames, and the log in Postgres that everything missed is read from.

use async_trait::async_trait;
use bytes::Bytes;

use crate::domain::ids::{ChannelId, UserId};

/// One change of a room, finished for the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomFrame {
    pub room: ChannelId,
    /// Its place among the changes of the room, which has no gap.
    pub revision: i64,
    /// The `type` of the frame, such as `MESSAGE_CREATED`.
    pub kind: &'static str,
    pub frame: Bytes,
}

/// Where a room is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Of its last message.
    pub seq: i64,
    /// Of its last change.
    pub revision: i64,
}

/// Messages that somebody missed.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Each with its seq, in order.
    pub messages: Vec<(i64, RoomFrame)>,
    /// Where the room was in the same snapshot.
    pub head: Head,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum RoomError {
    /// It was deleted, or never was.
    #[error("there is no such room")]
    NoSuchRoom,
    /// Try again later.
    #[error("the rooms cannot be read: {0}")]
    Unavailable(String),
}

/// What a room's subscribers missed. Whoever owns the messages implements it.
///
/// A change takes the room's next revision under a lock that is held until its commit, so that the order of revisions
/// is the order of commits. Who is removed takes one, too: then nobody can be told a later change before a node has
/// noticed.
#[async_trait]
pub trait RoomLog: Send + Sync {
    /// At most `limit` changes above `revision`, in order of revision. Of what changed twice, only the last need be there,
    /// and a removal is none: fewer than `limit` are all there is to tell.
    async fn after_revision(
        &self,
        room: ChannelId,
        revision: i64,
        limit: i64,
    ) -> Result<Vec<RoomFrame>, RoomError>;

    /// At most `limit` messages with a seq above `since`, in order.
    async fn since(&self, room: ChannelId, since: i64, limit: i64) -> Result<Replay, RoomError>;

    /// The last seq and the last revision of each of these rooms that there is.
    async fn heads(&self, rooms: &[ChannelId]) -> Result<Vec<(ChannelId, i64, i64)>, RoomError>;

    /// Those of these users who may hear the room.
    async fn members(&self, room: ChannelId, among: &[UserId]) -> Result<Vec<UserId>, RoomError>;
}
