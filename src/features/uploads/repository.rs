//! The table of uploads. Messages attach them in `messages/repository/send.sql`, where the conditions are those of
//! [`find`] for who sent them.

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::db::PgPool;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChannelId, UploadId, UserId};
use crate::features::uploads::model::{Received, Standing, Upload};

/// A file that is about to come.
pub struct Coming<'a> {
    pub id: UploadId,
    pub user: UserId,
    pub name: &'a str,
    pub content_type: &'a str,
    /// What it may become.
    pub bytes: i64,
    pub now: Timestamp,
    /// When nobody receives it any more.
    pub expires_at: Timestamp,
}

/// What became of a wish for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    Kept,
    /// With all else that this person holds, it would be too much.
    NoRoom,
    /// The account was deleted.
    NoAccount,
}

/// Keeps room for a file, if the person may hold so much more. What is over counts while it still takes room in the store.
pub async fn reserve(pool: &PgPool, coming: &Coming<'_>, quota_bytes: i64) -> Result<Reserved, sqlx::Error> {
    let mut tx = pool.begin().await?;
    // Two of one person at once wait for each other, and the second sees what the first keeps.
    let user = sqlx::query!("SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE", coming.user.0);
    if user.fetch_optional(&mut *tx).await?.is_none() {
        return Ok(Reserved::NoAccount);
    }
    let reserved = sqlx::query!(
        "INSERT INTO uploads (id, user_id, name, content_type, bytes, created_at, expires_at)
         SELECT $1, $2, $3, $4, $5::bigint, $6, $7
         FROM (SELECT coalesce(sum(bytes), 0)::bigint AS bytes FROM uploads
               WHERE user_id = $2) AS held
         WHERE held.bytes + $5 <= $8::bigint",
        coming.id.0,
        coming.user.0,
        coming.name,
        coming.content_type,
        coming.bytes,
        coming.now,
        coming.expires_at,
        quota_bytes,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(if reserved.rows_affected() == 1 { Reserved::Kept } else { Reserved::NoRoom })
}

/// The file is there as a whole, and waits to be attached. `None`: it was given up meanwhile.
pub async fn arrived(
    db: impl PgExecutor<'_>,
    id: UploadId,
    received: &Received,
    expires_at: Timestamp,
) -> Result<Option<Upload>, sqlx::Error> {
    let row = sqlx::query!(
        "UPDATE uploads SET bytes = $2, sha256 = $3, expires_at = $4
         WHERE id = $1 AND sha256 IS NULL AND doomed_at IS NULL AND user_id IS NOT NULL
         RETURNING name, content_type, created_at",
        id.0,
        i64::try_from(received.bytes).unwrap_or(i64::MAX),
        received.sha256,
        expires_at,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Upload {
        id,
        name: row.name,
        content_type: row.content_type,
        bytes: received.bytes,
        sha256: received.sha256.clone(),
        created_at: row.created_at,
        expires_at,
    }))
}

/// The file, and whose it is, unless it is over or has not arrived.
pub async fn find(
    db: impl PgExecutor<'_>,
    id: UploadId,
    now: Timestamp,
) -> Result<Option<(Upload, Standing)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT u.user_id AS "user: UserId", m.channel_id AS "channel?: ChannelId", u.name, u.content_type, u.bytes,
                  u.sha256, u.created_at, u.expires_at
           FROM uploads AS u LEFT JOIN messages AS m ON m.id = u.message_id
           WHERE u.id = $1 AND u.sha256 IS NOT NULL AND u.doomed_at IS NULL
             AND (u.message_id IS NOT NULL OR u.expires_at > $2)"#,
        id.0,
        now,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.and_then(|row| {
        let standing = match (row.channel, row.user) {
            (Some(channel), sender) => Standing::Attached { channel, sender },
            (None, Some(sender)) => Standing::Unattached(sender),
            (None, None) => return None,
        };
        let upload = Upload {
            id,
            name: row.name,
            content_type: row.content_type,
            bytes: row.bytes.unsigned_abs(),
            sha256: row.sha256?,
            created_at: row.created_at,
            expires_at: row.expires_at,
        };
        Some((upload, standing))
    }))
}

/// The file is over from now on, if no message has it. Returns whether none has.
pub async fn end(db: impl PgExecutor<'_>, id: UploadId, now: Timestamp) -> Result<bool, sqlx::Error> {
    let ended = sqlx::query!(
        "UPDATE uploads SET expires_at = least(expires_at, $2) WHERE id = $1 AND message_id IS NULL",
        id.0,
        now,
    )
    .execute(db)
    .await?;
    Ok(ended.rows_affected() == 1)
}

/// Takes files that are over, at most `limit`, those first that have been over the longest; and what others took before
/// `abandoned` and have not finished.
pub async fn doom(
    db: impl PgExecutor<'_>,
    now: Timestamp,
    abandoned: Timestamp,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE uploads SET doomed_at = $1 WHERE id IN (
             SELECT id FROM uploads
             WHERE message_id IS NULL AND expires_at <= $1 AND (doomed_at IS NULL OR doomed_at <= $2)
             ORDER BY expires_at LIMIT $3 FOR UPDATE SKIP LOCKED)
         RETURNING id",
        now,
        abandoned,
        limit,
    )
    .fetch_all(db)
    .await
}

/// Forgets files whose blobs are gone. Returns how many there were. Waits for nobody: the deletion of an account changes
/// the same rows in an order of its own, and what it holds is left to the next sweep.
pub async fn forget(db: impl PgExecutor<'_>, ids: &[Uuid]) -> Result<u64, sqlx::Error> {
    let forgotten = sqlx::query!(
        "DELETE FROM uploads WHERE id IN (
             SELECT id FROM uploads WHERE id = ANY($1) AND message_id IS NULL FOR UPDATE SKIP LOCKED)",
        ids,
    );
    Ok(forgotten.execute(db).await?.rows_affected())
}
