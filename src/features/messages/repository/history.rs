//! All that a conversation saw, in order, for who missed some of it.

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::domain::ids::{ChannelId, MessageId, UserId};
use crate::features::messages::model::{Change, Happened};

/// One step of a conversation.
pub struct Step {
    pub message: MessageId,
    /// None: the message was written.
    pub change: Option<Change>,
}

/// Where each of these conversations stands: its last seq and its last revision. Those that are gone are missing.
pub async fn heads(
    db: impl PgExecutor<'_>,
    channels: &[Uuid],
) -> Result<Vec<(ChannelId, i64, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT id, last_seq, last_revision FROM channels WHERE id = ANY($1) AND deleted_at IS NULL",
        channels,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (ChannelId(row.id), row.last_seq, row.last_revision)).collect())
}

/// The steps above `revision`, in order, at most `limit`.
pub async fn after(
    db: impl PgExecutor<'_>,
    channel: ChannelId,
    revision: i64,
    limit: i64,
) -> Result<Vec<Step>, sqlx::Error> {
    // Each part is read in the order of its index, and no further than all of them together go.
    let rows = sqlx::query!(
        r#"(SELECT id AS "message!: MessageId", revision AS "revision!", NULL AS change, NULL::uuid AS "by: UserId",
                   NULL AS emoji, created_at AS "at!"
            FROM messages WHERE channel_id = $1 AND revision > $2 ORDER BY revision LIMIT $3)
           UNION ALL
           (SELECT message_id, revision, change, user_id, emoji, created_at
            FROM message_changes AS h
            WHERE channel_id = $1 AND revision > $2
              -- What was taken back, or went with its message or account, is not told again.
              AND (change <> 'reaction_added' OR EXISTS (
                  SELECT FROM message_reactions AS r
                  WHERE r.message_id = h.message_id AND r.emoji = h.emoji AND r.user_id = h.user_id))
            ORDER BY revision LIMIT $3)
           ORDER BY 2 LIMIT $3"#,
        channel.0,
        revision,
        limit,
    )
    .fetch_all(db)
    .await?;
    let steps = rows.into_iter().map(|row| {
        let (revision, at) = (row.revision, row.at);
        let change = row.change.zip(row.by).map(|(change, by)| -> Result<_, sqlx::Error> {
            Ok(Change { happened: Happened::from_columns(&change, row.emoji)?, by, revision, at })
        });
        Ok(Step { message: row.message, change: change.transpose()? })
    });
    steps.collect()
}

/// Forgets what happened in each conversation before its last `kept_max` revisions, at most `limit` steps. Returns how
/// many.
pub async fn forget(db: impl PgExecutor<'_>, kept_max: i64, limit: i64) -> Result<u64, sqlx::Error> {
    let forgotten = sqlx::query!(
        "DELETE FROM message_changes WHERE (channel_id, revision) IN (
             SELECT m.channel_id, m.revision
             FROM channels AS c JOIN message_changes AS m ON m.channel_id = c.id AND m.revision <= c.last_revision - $1
             WHERE c.last_revision > $1
             LIMIT $2 FOR UPDATE OF m SKIP LOCKED)",
        kept_max,
        limit,
    )
    .execute(db)
    .await?;
    Ok(forgotten.rows_affected())
}
