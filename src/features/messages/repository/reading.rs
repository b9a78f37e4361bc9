//! How far members have read, and how much is left.

use sqlx::PgExecutor;

use crate::domain::ids::{ChannelId, MessageId, UserId};
use crate::features::messages::model::Marker;

/// Moves the member's marker forwards. Returns whether it moved.
pub async fn advance(
    db: impl PgExecutor<'_>,
    channel: ChannelId,
    user: UserId,
    seq: i64,
) -> Result<bool, sqlx::Error> {
    let moved = sqlx::query!(
        // The user first, as who deletes the account does.
        "WITH reader AS MATERIALIZED (SELECT id FROM users WHERE id = $2 FOR KEY SHARE)
         UPDATE channel_members AS m SET last_read_seq = $3 FROM reader
         WHERE m.channel_id = $1 AND m.user_id = reader.id AND m.last_read_seq < $3",
        channel.0,
        user.0,
        seq,
    )
    .execute(db)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Where the member's marker is; `None` for who is no member.
///
/// Of all that follows it, only one's own messages and deleted ones are counted, in an index of each: the rest is unread.
/// So it costs the same however much is unread.
pub async fn marker(
    db: impl PgExecutor<'_>,
    channel: ChannelId,
    user: UserId,
) -> Result<Option<Marker>, sqlx::Error> {
    sqlx::query_as!(
        Marker,
        r#"SELECT r.last_read_seq,
                  (SELECT id FROM messages WHERE channel_id = $1 AND seq = r.last_read_seq) AS "last_read: MessageId",
                  c.last_seq - r.last_read_seq
                  - (SELECT count(*) FROM messages
                     WHERE channel_id = $1 AND user_id = $2 AND seq > r.last_read_seq)
                  - (SELECT count(*) FROM messages
                     WHERE channel_id = $1 AND seq > r.last_read_seq AND deleted_at IS NOT NULL
                       AND user_id IS DISTINCT FROM $2) AS "unread!"
           FROM channel_members AS r JOIN channels AS c ON c.id = r.channel_id
           WHERE r.channel_id = $1 AND r.user_id = $2"#,
        channel.0,
        user.0,
    )
    .fetch_optional(db)
    .await
}
