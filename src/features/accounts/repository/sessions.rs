//! The tables of sessions and refresh tokens.

use std::net::IpAddr;

use sqlx::PgExecutor;

use crate::db::PgConnection;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::features::accounts::model::{RevokedReason, Session};

pub struct NewSession<'a> {
    pub id: SessionId,
    pub user: UserId,
    pub user_agent: &'a str,
    pub address: IpAddr,
    pub now: Timestamp,
    pub expires_at: Timestamp,
}

/// A session whose row is ours until the transaction ends.
pub struct Locked {
    pub id: SessionId,
    pub user: UserId,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

pub struct Revoked {
    pub session: SessionId,
    pub user: UserId,
    pub at: Timestamp,
}

pub async fn insert(conn: &mut PgConnection, session: &NewSession<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO sessions (id, user_id, user_agent, address, created_at, last_used_at, expires_at)
         VALUES ($1, $2, $3, $4::text::inet, $5, $5, $6)",
        session.id.0,
        session.user.0,
        session.user_agent,
        session.address.to_canonical().to_string(),
        session.now,
        session.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn insert_refresh_token(
    conn: &mut PgConnection,
    hash: &[u8],
    session: SessionId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO refresh_tokens (hash, session_id, issued_at) VALUES ($1, $2, $3)",
        hash,
        session.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The session that a refresh token belongs to, used or not. All that happens to a session waits for this
/// lock, so that of parallel refreshes and a logout each sees what the one before did.
pub async fn lock_by_refresh_token(
    conn: &mut PgConnection,
    hash: &[u8],
) -> Result<Option<Locked>, sqlx::Error> {
    sqlx::query_as!(
        Locked,
        r#"SELECT id AS "id: SessionId", user_id AS "user: UserId", expires_at, revoked_at
           FROM sessions
           WHERE id = (SELECT session_id FROM refresh_tokens WHERE hash = $1)
           FOR UPDATE"#,
        hash,
    )
    .fetch_optional(conn)
    .await
}

/// Marks a refresh token as used. Returns false if it was already.
pub async fn use_refresh_token(
    conn: &mut PgConnection,
    hash: &[u8],
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done =
        sqlx::query!("UPDATE refresh_tokens SET used_at = $2 WHERE hash = $1 AND used_at IS NULL", hash, now)
            .execute(conn)
            .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn touch(conn: &mut PgConnection, session: SessionId, now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE sessions SET last_used_at = $2 WHERE id = $1", session.0, now).execute(conn).await?;
    Ok(())
}

/// Ends a live session of this very user. Returns false if there is none.
pub async fn revoke(
    conn: &mut PgConnection,
    user: UserId,
    session: SessionId,
    reason: RevokedReason,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE sessions SET revoked_at = $3, revoked_reason = $4
         WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > $3",
        session.0,
        user.0,
        now,
        reason.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends the sessions beyond the `max` that were used last.
pub async fn revoke_beyond(
    conn: &mut PgConnection,
    user: UserId,
    max: i64,
    reason: RevokedReason,
    now: Timestamp,
) -> Result<Vec<SessionId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"UPDATE sessions SET revoked_at = $3, revoked_reason = $4
           WHERE revoked_at IS NULL AND id IN (
               SELECT id FROM sessions
               WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $3
               ORDER BY last_used_at DESC, id DESC
               OFFSET $2)
           RETURNING id AS "id: SessionId""#,
        user.0,
        max,
        now,
        reason.as_str(),
    )
    .fetch_all(conn)
    .await
}

/// The user's live sessions, the last used first.
pub async fn list(
    db: impl PgExecutor<'_>,
    user: UserId,
    max: i64,
    now: Timestamp,
) -> Result<Vec<Session>, sqlx::Error> {
    sqlx::query_as!(
        Session,
        r#"SELECT id AS "id: SessionId", user_agent, host(address) AS "address!", created_at, last_used_at,
                  expires_at
           FROM sessions
           WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $3
           ORDER BY last_used_at DESC, id DESC
           LIMIT $2"#,
        user.0,
        max,
        now,
    )
    .fetch_all(db)
    .await
}

/// Sessions revoked after `after` (a time, and the id among those of the same time), the oldest first.
pub async fn revoked_after(
    db: impl PgExecutor<'_>,
    after: (Timestamp, SessionId),
    limit: i64,
) -> Result<Vec<Revoked>, sqlx::Error> {
    sqlx::query_as!(
        Revoked,
        r#"SELECT id AS "session: SessionId", user_id AS "user: UserId", revoked_at AS "at!"
           FROM sessions
           WHERE revoked_at IS NOT NULL AND (revoked_at, id) > ($1, $2)
           ORDER BY revoked_at, id
           LIMIT $3"#,
        after.0,
        after.1.0,
        limit,
    )
    .fetch_all(db)
    .await
}

/// Deletes a batch of sessions that ended before `before`, with their refresh tokens.
pub async fn delete_ended(
    db: impl PgExecutor<'_>,
    before: Timestamp,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM sessions WHERE id IN (
             SELECT id FROM sessions WHERE expires_at < $1 OR revoked_at < $1
             LIMIT $2 FOR UPDATE SKIP LOCKED)",
        before,
        limit,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes a batch of refresh tokens that were used before `before`.
pub async fn delete_used_tokens(
    db: impl PgExecutor<'_>,
    before: Timestamp,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM refresh_tokens WHERE hash IN (
             SELECT hash FROM refresh_tokens WHERE used_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        before,
        limit,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
