//! The `partners` and `link_sessions` tables.
//!
//! Whoever changes them has locked the users concerned first, with [`lock_users`]; a status change waits for
//! that lock too (`lock_partner` in the schema). What is decided under the lock is read after it.

use crate::db::PgConnection;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{LinkSessionId, UserId};
use crate::features::linking::code::LinkCode;
use crate::features::linking::events::Party;
use crate::features::linking::model::LinkSession;

/// Locks these users, in the order of their ids, and returns them in it; a user who does not exist is missing.
pub async fn lock_users(conn: &mut PgConnection, users: &[UserId]) -> Result<Vec<Party>, sqlx::Error> {
    let ids: Vec<uuid::Uuid> = users.iter().map(|user| user.0).collect();
    sqlx::query_as!(
        Party,
        r#"SELECT id AS "id: UserId", COALESCE(display_name, full_name, username) AS name
           FROM users WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE"#,
        &ids,
    )
    .fetch_all(conn)
    .await
}

pub async fn partner_of(conn: &mut PgConnection, user: UserId) -> Result<Option<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT partner_id AS "partner_id: UserId" FROM partners WHERE user_id = $1"#,
        user.0
    )
    .fetch_optional(conn)
    .await
}

pub async fn link(
    conn: &mut PgConnection,
    one: UserId,
    other: UserId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO partners (user_id, partner_id, linked_at) VALUES ($1, $2, $3), ($2, $1, $3)",
        one.0,
        other.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn unlink(conn: &mut PgConnection, one: UserId, other: UserId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM partners WHERE user_id IN ($1, $2)", one.0, other.0).execute(conn).await?;
    Ok(())
}

/// Replaces the owner's offer by a new one. Returns whether it was written: the code may be somebody else's.
pub async fn replace_session(
    conn: &mut PgConnection,
    session: &LinkSession,
    code: &LinkCode,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    sqlx::query!("DELETE FROM link_sessions WHERE owner_id = $1", session.owner.0)
        .execute(&mut *conn)
        .await?;
    let written = sqlx::query!(
        "INSERT INTO link_sessions (id, owner_id, code, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (code) DO NOTHING",
        session.id.0,
        session.owner.0,
        code.as_str(),
        now,
        session.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(written.rows_affected() == 1)
}

pub async fn session_by_code(
    conn: &mut PgConnection,
    code: &LinkCode,
) -> Result<Option<LinkSession>, sqlx::Error> {
    sqlx::query_as!(
        LinkSession,
        r#"SELECT id AS "id: LinkSessionId", owner_id AS "owner: UserId", expires_at, confirmed_at
           FROM link_sessions WHERE code = $1"#,
        code.as_str(),
    )
    .fetch_optional(conn)
    .await
}

pub async fn session_of_owner(
    conn: &mut PgConnection,
    session: LinkSessionId,
    owner: UserId,
) -> Result<Option<LinkSession>, sqlx::Error> {
    sqlx::query_as!(
        LinkSession,
        r#"SELECT id AS "id: LinkSessionId", owner_id AS "owner: UserId", expires_at, confirmed_at
           FROM link_sessions WHERE id = $1 AND owner_id = $2"#,
        session.0,
        owner.0,
    )
    .fetch_optional(conn)
    .await
}

pub async fn confirm_session(
    conn: &mut PgConnection,
    session: LinkSessionId,
    by: UserId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE link_sessions SET confirmed_at = $3, confirmed_by = $2 WHERE id = $1",
        session.0,
        by.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn delete_session(conn: &mut PgConnection, session: LinkSessionId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM link_sessions WHERE id = $1", session.0).execute(conn).await?;
    Ok(())
}
