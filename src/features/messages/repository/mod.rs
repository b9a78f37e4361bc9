//! The tables of messages: what every read of them has in common.
//!
//! Lock order, here as in channels: the conversation's row, its members', inboxes. Whoever writes holds the first.

use sqlx::PgExecutor;
use sqlx::types::Json;

use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChannelId, MessageId, UserId};
use crate::features::messages::model::{Attachment, Message, MessageType, Metadata, Reaction};

pub mod changing;
pub mod history;
pub mod paging;
pub mod reading;
pub mod searching;
pub mod sending;

/// Messages as they are shown; the text says which, and in what order.
macro_rules! shown {
    ($which:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            $crate::features::messages::repository::Row,
            r#"SELECT m.id AS "id: MessageId", m.channel_id AS "channel_id: ChannelId", m.seq, m.revision,
                      m.user_id AS "user_id: UserId", m.client_id, m.parent_id AS "parent_id: MessageId",
                      m.message_type, m.content, m.metadata AS "metadata: Json<Metadata>",
                      m.attachments AS "attachments: Json<Vec<Attachment>>",
                      m.mentions AS "mentions: Vec<UserId>", m.created_at, m.updated_at, m.edited_at, m.deleted_at,
                      (SELECT coalesce(jsonb_agg(r ORDER BY r.since, r.emoji), '[]') FROM (
                          SELECT emoji, min(created_at) AS since,
                                 jsonb_agg(user_id ORDER BY created_at, user_id) AS "userIds"
                          FROM message_reactions WHERE message_id = m.id GROUP BY emoji
                      ) AS r) AS "reactions!: Json<Vec<Reaction>>"
               FROM messages AS m "# + $which
            $(, $argument)*
        )
    };
}
use shown;

struct Row {
    id: MessageId,
    channel_id: ChannelId,
    seq: i64,
    revision: i64,
    user_id: Option<UserId>,
    client_id: Option<String>,
    parent_id: Option<MessageId>,
    message_type: String,
    content: String,
    metadata: Json<Metadata>,
    attachments: Json<Vec<Attachment>>,
    mentions: Vec<UserId>,
    reactions: Json<Vec<Reaction>>,
    created_at: Timestamp,
    updated_at: Timestamp,
    edited_at: Option<Timestamp>,
    deleted_at: Option<Timestamp>,
}

impl TryFrom<Row> for Message {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.id,
            channel: row.channel_id,
            seq: row.seq,
            revision: row.revision,
            author: row.user_id,
            client_id: row.client_id,
            parent: row.parent_id,
            message_type: MessageType::from_column(&row.message_type)?,
            content: row.content,
            metadata: row.metadata.0,
            attachments: row.attachments.0,
            mentions: row.mentions,
            reactions: row.reactions.0,
            created_at: row.created_at,
            updated_at: row.updated_at,
            edited_at: row.edited_at,
            deleted_at: row.deleted_at,
        })
    }
}

fn messages(rows: Vec<Row>) -> Result<Vec<Message>, sqlx::Error> {
    rows.into_iter().map(Message::try_from).collect()
}

/// The message, deleted or not.
pub async fn find(db: impl PgExecutor<'_>, message: MessageId) -> Result<Option<Message>, sqlx::Error> {
    let row = shown!("WHERE m.id = $1", message.0).fetch_optional(db).await?;
    row.map(Message::try_from).transpose()
}

/// Those of these messages that there are, in any order.
pub async fn find_all(db: impl PgExecutor<'_>, ids: &[uuid::Uuid]) -> Result<Vec<Message>, sqlx::Error> {
    messages(shown!("WHERE m.id = ANY($1)", ids).fetch_all(db).await?)
}
