//! What the examples in the documents speak of.

use serde_json::json;
use uuid::uuid;

use crate::delivery::described;
use crate::domain::ids::{ChannelId, MessageId, UploadId};
use crate::features::messages::model::{Attachment, MessageType, Reaction};
use crate::features::messages::views::MessageView;

pub(super) fn message_id() -> MessageId {
    MessageId(uuid!("0193a5c0-0000-7000-8000-000000000011"))
}

pub(super) fn channel_id() -> ChannelId {
    ChannelId(uuid!("0193a5c0-0000-7000-8000-000000000010"))
}

pub(super) fn message() -> MessageView {
    let at = chrono::DateTime::from_timestamp_millis(described::EXAMPLE_MS).unwrap_or_default();
    let user = described::example_user();
    let metadata = json!({"mood": "fine"}).as_object().cloned().unwrap_or_default();
    MessageView {
        id: message_id(),
        channel_id: channel_id(),
        seq: 41,
        user_id: Some(user),
        content: "Hello @mia".to_owned(),
        message_type: MessageType::Text,
        metadata,
        attachments: vec![Attachment {
            id: UploadId(uuid!("0193a5c0-0000-7000-8000-000000000012")),
            name: "photo.png".to_owned(),
            content_type: "image/png".to_owned(),
            size: 48_213,
        }],
        parent_id: None,
        is_edited: false,
        is_deleted: false,
        created_at: at,
        updated_at: at,
        mentions: vec![user],
        reactions: vec![Reaction { emoji: "👍".to_owned(), user_ids: vec![user] }],
    }
}
