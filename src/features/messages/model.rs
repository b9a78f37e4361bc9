//! What people write, and what became of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChannelId, MessageId, UploadId, UserId};

/// What a client attaches to a message for other clients; the server reads nothing of it.
pub type Metadata = Map<String, Value>;

/// `system`: for the server alone, which writes none yet; refused of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MessageType {
    #[default]
    Text,
    Image,
    File,
    System,
}

impl MessageType {
    const ALL: [Self; 4] = [Self::Text, Self::Image, Self::File, Self::System];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::File => "file",
            Self::System => "system",
        }
    }

    /// # Errors
    /// For a text that is none.
    pub(super) fn from_column(text: &str) -> Result<Self, sqlx::Error> {
        let found = Self::ALL.into_iter().find(|it| it.as_str() == text);
        found.ok_or_else(|| sqlx::Error::Decode(format!("`{text}` is not a type of message").into()))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub id: MessageId,
    pub channel: ChannelId,
    /// Its place among the messages of its conversation.
    pub seq: i64,
    /// Of its being written, among all that its conversation saw.
    pub revision: i64,
    /// None: an account that was deleted.
    pub author: Option<UserId>,
    /// What its author called it.
    pub client_id: Option<String>,
    /// The message that began the thread.
    pub parent: Option<MessageId>,
    pub message_type: MessageType,
    /// Empty once deleted, as are the four below.
    pub content: String,
    pub metadata: Metadata,
    pub attachments: Vec<Attachment>,
    /// Members who were named with `@`, when it was written or edited last.
    pub mentions: Vec<UserId>,
    pub reactions: Vec<Reaction>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub edited_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
}

impl Message {
    #[must_use]
    pub fn has_reaction(&self, user: UserId, emoji: &str) -> bool {
        self.reactions.iter().any(|reaction| reaction.emoji == emoji && reaction.user_ids.contains(&user))
    }

    #[must_use]
    pub fn reaction_count(&self) -> usize {
        self.reactions.iter().map(|reaction| reaction.user_ids.len()).sum()
    }
}

/// A file that came with the message. It is never changed, so each message keeps what is shown of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// `GET /uploads/{id}`
    pub id: UploadId,
    #[schema(example = "photo.png")]
    pub name: String,
    #[schema(example = "image/png")]
    pub content_type: String,
    /// In bytes.
    #[schema(minimum = 1)]
    pub size: i64,
}

/// Who reacted with this, in the order in which they did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reaction {
    #[schema(example = "👍")]
    pub emoji: String,
    pub user_ids: Vec<UserId>,
}

/// What is to be written.
#[derive(Clone, Debug)]
pub struct Draft {
    pub channel: ChannelId,
    pub content: String,
    pub message_type: MessageType,
    pub metadata: Metadata,
    /// A message of the thread to write in.
    pub parent: Option<MessageId>,
    /// What the client calls it: the same one sent again is the same message.
    pub client_id: Option<String>,
    /// Files of the author's that no message has yet.
    pub attachments: Vec<UploadId>,
}

/// What an edit makes of a message; `None` leaves it as it is.
#[derive(Clone, Debug)]
pub struct Edit {
    pub content: String,
    pub metadata: Option<Metadata>,
}

/// A message that was written, now or by an earlier call with the same key.
#[derive(Clone, Debug)]
pub enum Sent {
    Now(Message),
    Before(Message),
}

impl Sent {
    #[must_use]
    pub fn message(self) -> Message {
        match self {
            Self::Now(message) | Self::Before(message) => message,
        }
    }
}

/// What can happen to a message that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    Edited,
    Deleted,
    /// With this emoji.
    ReactionAdded(String),
    ReactionRemoved(String),
}

impl Happened {
    /// As the database stores it: the change, and its emoji.
    #[must_use]
    pub fn columns(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Edited => ("edited", None),
            Self::Deleted => ("deleted", None),
            Self::ReactionAdded(emoji) => ("reaction_added", Some(emoji)),
            Self::ReactionRemoved(emoji) => ("reaction_removed", Some(emoji)),
        }
    }

    /// # Errors
    /// For what the table's CHECK does not admit.
    pub(super) fn from_columns(change: &str, emoji: Option<String>) -> Result<Self, sqlx::Error> {
        match (change, emoji) {
            ("edited", None) => Ok(Self::Edited),
            ("deleted", None) => Ok(Self::Deleted),
            ("reaction_added", Some(emoji)) => Ok(Self::ReactionAdded(emoji)),
            ("reaction_removed", Some(emoji)) => Ok(Self::ReactionRemoved(emoji)),
            _ => Err(sqlx::Error::Decode(format!("`{change}` is not a change").into())),
        }
    }
}

/// Something that happened to a message, with its place among all that its conversation saw.
#[derive(Clone, Debug)]
pub struct Change {
    pub happened: Happened,
    pub by: UserId,
    pub revision: i64,
    pub at: Timestamp,
}

/// Which part of a conversation or thread to read.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Only what comes after this message; reading goes on from there.
    pub after: Option<MessageId>,
    /// Only what comes before this message.
    pub before: Option<MessageId>,
    pub limit: u32,
}

/// A part of a conversation, in order.
#[derive(Clone, Debug)]
pub struct Page {
    pub messages: Vec<Message>,
    /// The `after` or `before` of the next page, in the direction of this one; `None`: this was the last.
    pub next: Option<MessageId>,
}

/// What to look for.
#[derive(Clone, Debug)]
pub struct Search {
    pub text: String,
    /// Only there.
    pub channel: Option<ChannelId>,
    pub before: Option<MessageId>,
    pub limit: u32,
}

/// How far somebody has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// 0: nothing yet.
    pub last_read_seq: i64,
    pub last_read: Option<MessageId>,
    /// What others wrote after it and did not delete.
    pub unread: i64,
}
