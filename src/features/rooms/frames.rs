//! What the others in a room are told.

use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use crate::delivery::described::{EXAMPLE_MS, example_channel, example_user};
use crate::delivery::event::json_text_frame;
use crate::domain::ids::ChannelId;
use crate::domain::ids::UserId;

/// Worth nothing later: it has neither an `id` nor a `seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PassingFrame {
    /// Somebody else is typing, or is not any more.
    #[serde(rename_all = "camelCase")]
    Typing {
        channel_id: ChannelId,
        user_id: UserId,
        is_typing: bool,
        /// Epoch milliseconds.
        timestamp: i64,
    },
}

impl PassingFrame {
    pub fn frame(&self) -> Bytes {
        json_text_frame(self)
    }
}

/// One of each.
#[must_use]
pub fn described() -> Vec<PassingFrame> {
    let (channel_id, user_id) = (example_channel(), example_user());
    vec![PassingFrame::Typing { channel_id, user_id, is_typing: true, timestamp: EXAMPLE_MS }]
}
