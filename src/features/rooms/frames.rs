//! What the others in a room are told.

use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use crate::delivery::described::{EXAMPLE_MS, example_user};
use crate::delivery::event::text_frame;
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
        text_frame(&serde_json::to_string(self).expect("a frame is a plain enum of strings and numbers"))
    }
}

/// One of each.
#[must_use]
pub fn described() -> Vec<PassingFrame> {
    let channel_id = ChannelId(uuid::uuid!("0193a5c0-0000-7000-8000-0000000000c1"));
    vec![PassingFrame::Typing { channel_id, user_id: example_user(), is_typing: true, timestamp: EXAMPLE_MS }]
}
