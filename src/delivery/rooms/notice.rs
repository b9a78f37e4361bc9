//! What rooms say for themselves: that somebody has to read the state, and that there is nothing more to come.

use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use crate::delivery::described::example_channel;
use crate::delivery::event::json_text_frame;
use crate::delivery::rooms::log::Head;
use crate::domain::ids::ChannelId;

/// Why the changes in between are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoomResyncReason {
    /// More changes were missed than are replayed.
    TooFarBehind,
    /// More was seen than the database knows: another server took over, or a backup was restored.
    AheadOfServer,
    /// What was seen may not be what the database knows: another server took over meanwhile, or a backup was restored.
    AnotherPast,
}

impl RoomResyncReason {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooFarBehind => "too_far_behind",
            Self::AheadOfServer => "ahead_of_server",
            Self::AnotherPast => "another_past",
        }
    }
}

/// Why a subscription has ended that the client did not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnsubscribedReason {
    /// The user is not a member any more.
    Removed,
    /// The room is no more.
    Gone,
}

impl UnsubscribedReason {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Gone => "gone",
        }
    }
}

/// What a subscriber is told about the subscription itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RoomNotice {
    /// Read the room's state by REST: its changes go on after `revision`, its messages after `fromSeq`.
    #[serde(rename_all = "camelCase")]
    RoomResync { channel_id: ChannelId, reason: RoomResyncReason, from_seq: i64, revision: i64 },
    /// Nothing more of this room comes on this connection.
    #[serde(rename_all = "camelCase")]
    Unsubscribed { channel_id: ChannelId, reason: UnsubscribedReason },
}

impl RoomNotice {
    pub(super) fn resync(room: ChannelId, reason: RoomResyncReason, head: Head) -> Self {
        Self::RoomResync { channel_id: room, reason, from_seq: head.seq, revision: head.revision }
    }

    /// One of each, for the documents.
    #[must_use]
    pub fn examples() -> Vec<Self> {
        let channel_id = example_channel();
        let head = Head { seq: 2_041, revision: 5_120 };
        let resync = Self::resync(channel_id, RoomResyncReason::TooFarBehind, head);
        vec![resync, Self::Unsubscribed { channel_id, reason: UnsubscribedReason::Removed }]
    }

    #[must_use]
    pub fn frame(&self) -> Bytes {
        json_text_frame(self)
    }
}
