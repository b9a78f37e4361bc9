//! Writing a message: see `send.sql`.

use std::sync::LazyLock;

use sqlx::PgExecutor;
use sqlx::types::Json;
use uuid::Uuid;

use crate::db;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{MessageId, UserId};
use crate::features::channels::{Access, Kind, Operation, Role};
use crate::features::messages::model::{Attachment, Draft, Message};

/// With which kind, privacy and role one may write, as [`Access`] decides it: the statement compares what it reads
/// under its lock, so that deciding takes no round trip of its own.
static WRITERS: LazyLock<Writers> = LazyLock::new(Writers::of_access);

#[derive(Default)]
struct Writers {
    kinds: Vec<String>,
    private: Vec<bool>,
    roles: Vec<String>,
}

impl Writers {
    fn of_access() -> Self {
        let mut all = Self::default();
        for kind in Kind::ALL {
            for (is_private, role) in
                [false, true].into_iter().flat_map(|it| Role::ALL.map(|role| (it, role)))
            {
                if (Access { kind, is_private, role: Some(role) }).allows(Operation::Send).is_ok() {
                    all.kinds.push(kind.as_str().to_owned());
                    all.private.push(is_private);
                    all.roles.push(role.as_str().to_owned());
                }
            }
        }
        all
    }
}

/// What became of a draft.
pub enum Outcome {
    /// `is_noticed`: it may concern somebody who is elsewhere.
    Written { message: Box<Message>, is_noticed: bool },
    /// Its author has sent it before.
    Known(MessageId),
    /// There is no such message to reply to, or it was deleted.
    NoThread,
    /// The author has no such file that could be attached.
    NoUpload,
    /// There is no such conversation, or the author may not write there.
    Refused,
}

/// Writes it, unless its author may not, or has before.
pub async fn send(
    db: impl PgExecutor<'_>,
    author: UserId,
    draft: &Draft,
    names: &[String],
    now: Timestamp,
) -> Result<Outcome, sqlx::Error> {
    let id = MessageId::generate();
    let uploads: Vec<Uuid> = draft.attachments.iter().map(|upload| upload.0).collect();
    let row = sqlx::query_file!(
        "src/features/messages/repository/send.sql",
        id.0,
        draft.channel.0,
        author.0,
        draft.client_id,
        draft.parent.map(|parent| parent.0),
        draft.message_type.as_str(),
        draft.content,
        Json(&draft.metadata) as _,
        names,
        now,
        &WRITERS.kinds,
        &WRITERS.private,
        &WRITERS.roles,
        &uploads,
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(Outcome::Refused) };
    if let Some(known) = row.sent_before {
        return Ok(Outcome::Known(known));
    }
    if !row.has_uploads {
        return Ok(Outcome::NoUpload);
    }
    let (Some(seq), Some(revision)) = (row.seq, row.revision) else { return Ok(Outcome::NoThread) };
    let message = Box::new(Message {
        id,
        channel: draft.channel,
        seq,
        revision,
        author: Some(author),
        client_id: draft.client_id.clone(),
        parent: row.parent_id,
        message_type: draft.message_type,
        content: draft.content.clone(),
        metadata: draft.metadata.clone(),
        attachments: row.attachments.map_or_else(Vec::new, |attachments| attachments.0),
        mentions: row.mentions.unwrap_or_default(),
        reactions: Vec::new(),
        created_at: now,
        updated_at: now,
        edited_at: None,
        deleted_at: None,
    });
    Ok(Outcome::Written { message, is_noticed: row.is_noticed })
}

/// Whether the same was written at this very moment, by another call: nothing of this one happened.
pub fn is_sent_twice(error: &sqlx::Error) -> bool {
    db::violated_constraint(error) == Some("messages_client_id_key")
}
