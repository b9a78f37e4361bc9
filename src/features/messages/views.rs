//! What clients get: the response bodies, and the part that they share with events. Absent values are explicit nulls.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::ids::{ChannelId, MessageId, UserId};
use crate::features::messages::model::{Attachment, Marker, Message, MessageType, Metadata, Page, Reaction};

#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Message)]
pub struct MessageView {
    pub id: MessageId,
    pub channel_id: ChannelId,
    /// Its place among the messages of its conversation: from 1, without a gap, in the order of commits.
    pub seq: i64,
    /// Who wrote it; null: an account that was deleted.
    #[schema(required)]
    pub user_id: Option<UserId>,
    /// Empty once deleted.
    pub content: String,
    pub message_type: MessageType,
    /// As the author attached it.
    #[schema(value_type = Object)]
    pub metadata: Metadata,
    /// The files that came with it.
    pub attachments: Vec<Attachment>,
    /// The message that began the thread, if this is a reply.
    #[schema(required)]
    pub parent_id: Option<MessageId>,
    pub is_edited: bool,
    pub is_deleted: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// The members that it names with `@username`.
    pub mentions: Vec<UserId>,
    /// The earliest first.
    pub reactions: Vec<Reaction>,
}

impl From<Message> for MessageView {
    fn from(message: Message) -> Self {
        Self {
            id: message.id,
            channel_id: message.channel,
            seq: message.seq,
            user_id: message.author,
            content: message.content,
            message_type: message.message_type,
            metadata: message.metadata,
            attachments: message.attachments,
            parent_id: message.parent,
            is_edited: message.edited_at.is_some(),
            is_deleted: message.deleted_at.is_some(),
            created_at: message.created_at,
            updated_at: message.updated_at,
            mentions: message.mentions,
            reactions: message.reactions,
        }
    }
}

/// One page of messages.
#[derive(Serialize, ToSchema)]
pub struct MessagesPage {
    pub items: Vec<MessageView>,
    /// The `before` of the next page, or its `after` if this page was asked for with `after`; null: there is no more.
    #[schema(required)]
    pub next: Option<MessageId>,
}

impl From<Page> for MessagesPage {
    fn from(page: Page) -> Self {
        Self { items: page.messages.into_iter().map(MessageView::from).collect(), next: page.next }
    }
}

/// How far I have read a conversation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ReadMarker)]
pub struct MarkerView {
    pub channel_id: ChannelId,
    /// Null: nothing yet.
    #[schema(required)]
    pub last_read_message_id: Option<MessageId>,
    /// Its `seq`; 0: nothing yet.
    pub last_read_seq: i64,
    /// What others wrote after it and did not delete.
    pub unread_count: i64,
}

impl MarkerView {
    #[must_use]
    pub fn new(channel_id: ChannelId, marker: Marker) -> Self {
        Self {
            channel_id,
            last_read_message_id: marker.last_read,
            last_read_seq: marker.last_read_seq,
            unread_count: marker.unread,
        }
    }
}
