//! The `channels` table. Who is in them is in [`members`].
//!
//! Whoever changes a row holds its lock, by `access_locked`.

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::db::{self, PgConnection};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChannelId, UserId};
use crate::features::channels::error::ChannelsError;
use crate::features::channels::model::{Channel, Kind};

pub mod members;

/// Conversations as they are shown; the text says which, and in what order.
macro_rules! shown {
    ($which:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            ChannelRow,
            r#"SELECT id AS "id: ChannelId", kind, name, description, is_private, created_by AS "created_by: UserId",
                      created_at, updated_at, member_count, message_count, last_seq
               FROM channels "# + $which
            $(, $argument)*
        )
    };
}

struct ChannelRow {
    id: ChannelId,
    kind: String,
    name: Option<String>,
    description: Option<String>,
    is_private: bool,
    created_by: Option<UserId>,
    created_at: Timestamp,
    updated_at: Timestamp,
    member_count: i32,
    message_count: i64,
    last_seq: i64,
}

impl TryFrom<ChannelRow> for Channel {
    type Error = sqlx::Error;

    fn try_from(row: ChannelRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.id,
            kind: Kind::from_column(&row.kind)?,
            name: row.name,
            description: row.description,
            is_private: row.is_private,
            created_by: row.created_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
            member_count: row.member_count.unsigned_abs(),
            message_count: row.message_count,
            last_seq: row.last_seq,
        })
    }
}

/// The two people of a direct conversation, as its key.
pub fn pair(one: UserId, other: UserId) -> [Uuid; 2] {
    [one.min(other).0, one.max(other).0]
}

/// Writes a new conversation that nobody is in yet. `pair`: of a direct one.
pub async fn insert(
    conn: &mut PgConnection,
    channel: &Channel,
    pair: Option<[Uuid; 2]>,
) -> Result<(), ChannelsError> {
    sqlx::query!(
        "INSERT INTO channels (id, kind, name, description, is_private, direct_pair, created_by, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        channel.id.0,
        channel.kind.as_str(),
        channel.name,
        channel.description,
        channel.is_private,
        pair.as_ref().map(<[Uuid; 2]>::as_slice),
        channel.created_by.map(|user| user.0),
        channel.created_at,
        channel.updated_at,
    )
    .execute(conn)
    .await
    .map_err(name_taken)?;
    Ok(())
}

pub async fn find(executor: impl PgExecutor<'_>, channel: ChannelId) -> Result<Option<Channel>, sqlx::Error> {
    let row = shown!("WHERE id = $1 AND deleted_at IS NULL", channel.0).fetch_optional(executor).await?;
    row.map(TryInto::try_into).transpose()
}

/// The direct conversation of these two.
pub async fn find_direct(
    executor: impl PgExecutor<'_>,
    pair: [Uuid; 2],
) -> Result<Option<Channel>, sqlx::Error> {
    let query = shown!("WHERE direct_pair = $1 AND deleted_at IS NULL", pair.as_slice());
    let row = query.fetch_optional(executor).await?;
    row.map(TryInto::try_into).transpose()
}

/// Conversations that the user is in and, unless `only_mine`, public ones, the newest first, made before `before`.
pub async fn list(
    executor: impl PgExecutor<'_>,
    user: UserId,
    only_mine: bool,
    before: Option<ChannelId>,
    limit: i64,
) -> Result<Vec<Channel>, sqlx::Error> {
    // Both halves read as many entries of their index as are asked for, however many there are. An array, because a join
    // may be planned as a walk over all channels.
    let query = shown!(
        "WHERE deleted_at IS NULL AND id = ANY (ARRAY(
               (SELECT id FROM channels
                WHERE NOT is_private AND deleted_at IS NULL AND NOT $2 AND id < $3
                ORDER BY id DESC LIMIT $4)
               UNION
               (SELECT channel_id FROM channel_members
                WHERE user_id = $1 AND channel_id < $3
                ORDER BY channel_id DESC LIMIT $4)
               ORDER BY 1 DESC
               LIMIT $4))
           ORDER BY id DESC",
        user.0,
        only_mine,
        before.map_or(Uuid::max(), |channel| channel.0),
        limit,
    );
    query.fetch_all(executor).await?.into_iter().map(TryInto::try_into).collect()
}

pub async fn update(conn: &mut PgConnection, channel: &Channel) -> Result<(), ChannelsError> {
    sqlx::query!(
        "UPDATE channels SET name = $2, description = $3, is_private = $4, updated_at = $5 WHERE id = $1",
        channel.id.0,
        channel.name,
        channel.description,
        channel.is_private,
        channel.updated_at,
    )
    .execute(conn)
    .await
    .map_err(name_taken)?;
    Ok(())
}

/// Nobody finds it any more. What was written there goes with [`purge`].
pub async fn mark_deleted(
    conn: &mut PgConnection,
    channel: ChannelId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE channels SET deleted_at = $2, updated_at = $2 WHERE id = $1", channel.0, now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes messages of one deleted conversation, at most `batch_max`, and the conversation with the last of them.
/// Returns whether there was any; several nodes at once take different ones.
pub async fn purge(conn: &mut PgConnection, batch_max: u32) -> Result<bool, sqlx::Error> {
    let channel = sqlx::query_scalar!(
        "SELECT id FROM channels WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT 1 FOR UPDATE SKIP LOCKED"
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(channel) = channel else { return Ok(false) };
    // The newest first: replies before what they reply to, or else their deletion would follow it in one go.
    let deleted = sqlx::query!(
        "DELETE FROM messages WHERE id IN (
             SELECT id FROM messages WHERE channel_id = $1 ORDER BY seq DESC LIMIT $2)",
        channel,
        i64::from(batch_max),
    )
    .execute(&mut *conn)
    .await?;
    if deleted.rows_affected() < u64::from(batch_max) {
        sqlx::query!("DELETE FROM channels WHERE id = $1", channel).execute(conn).await?;
    }
    Ok(true)
}

fn name_taken(error: sqlx::Error) -> ChannelsError {
    match db::violated_constraint(&error) {
        Some("channels_name_key") => ChannelsError::NameTaken,
        _ => error.into(),
    }
}
