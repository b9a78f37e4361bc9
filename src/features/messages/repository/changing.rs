//! What happens to a message later. All of it under the lock of its conversation (`channels::access_locked`).

use sqlx::types::Json;

use crate::db::PgConnection;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{MessageId, UserId};
use crate::features::messages::model::{Change, Edit, Happened, Message, Metadata};

/// Gives what happened its place among all that the conversation saw, and keeps it for who missed it.
pub async fn record(
    conn: &mut PgConnection,
    message: &Message,
    by: UserId,
    happened: Happened,
    at: Timestamp,
) -> Result<Change, sqlx::Error> {
    let (change, emoji) = happened.columns();
    let fewer = i64::from(happened == Happened::Deleted);
    let revision = sqlx::query_scalar!(
        "WITH placed AS (
             UPDATE channels SET last_revision = last_revision + 1, message_count = message_count - $7
             WHERE id = $1 RETURNING last_revision)
         INSERT INTO message_changes (channel_id, revision, message_id, change, user_id, emoji, created_at)
         SELECT $1, last_revision, $2::uuid, $3::text, $4::uuid, $5::text, $6::timestamptz FROM placed
         RETURNING revision",
        message.channel.0,
        message.id.0,
        change,
        by.0,
        emoji,
        at,
        fewer,
    )
    .fetch_one(conn)
    .await?;
    Ok(Change { happened, by, revision, at })
}

/// Replaces the content, finds out anew whom it names, and puts all of that into `message`.
pub async fn edit(
    conn: &mut PgConnection,
    message: &mut Message,
    edit: &Edit,
    names: &[String],
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    let row = sqlx::query!(
        r#"UPDATE messages
           SET content = $2, metadata = coalesce($3, metadata), edited_at = $5, updated_at = $5,
               mentions = (
                   SELECT coalesce(array_agg(u.id ORDER BY u.id), '{}')
                   FROM users AS u JOIN channel_members AS m ON m.channel_id = messages.channel_id AND m.user_id = u.id
                   WHERE lower(u.username) = ANY($4::text[]))
           WHERE id = $1
           RETURNING metadata AS "metadata: Json<Metadata>", mentions AS "mentions: Vec<UserId>""#,
        message.id.0,
        edit.content,
        edit.metadata.as_ref().map(Json) as _,
        names,
        at,
    )
    .fetch_one(conn)
    .await?;
    message.content.clone_from(&edit.content);
    (message.metadata, message.mentions) = (row.metadata.0, row.mentions);
    (message.edited_at, message.updated_at) = (Some(at), at);
    Ok(())
}

/// Notices that the message names these people now: they may be elsewhere.
pub async fn notice(
    conn: &mut PgConnection,
    message: MessageId,
    named: &[UserId],
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    let named: Vec<_> = named.iter().map(|user| user.0).collect();
    sqlx::query!(
        "INSERT INTO message_notices (message_id, mentioned, is_new, noticed_at) VALUES ($1, $2, false, $3)",
        message.0,
        &named,
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Leaves only that there was a message.
pub async fn empty(conn: &mut PgConnection, message: MessageId, at: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM message_reactions WHERE message_id = $1", message.0)
        .execute(&mut *conn)
        .await?;
    sqlx::query!(
        "UPDATE messages SET content = '', metadata = '{}', mentions = '{}', deleted_at = $2, updated_at = $2
         WHERE id = $1",
        message.0,
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn react(
    conn: &mut PgConnection,
    message: MessageId,
    user: UserId,
    emoji: &str,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO message_reactions (message_id, user_id, emoji, created_at) VALUES ($1, $2, $3, $4)",
        message.0,
        user.0,
        emoji,
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn take_back(
    conn: &mut PgConnection,
    message: MessageId,
    user: UserId,
    emoji: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM message_reactions WHERE message_id = $1 AND user_id = $2 AND emoji = $3",
        message.0,
        user.0,
        emoji,
    )
    .execute(conn)
    .await?;
    Ok(())
}
