//! The `device_tokens` table.
//!
//! A registration may retire rows of others. So it locks in one order: the login, the user, the token's
//! name (which has no row yet when it is new), then all rows concerned by their ids.

use std::collections::HashSet;

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::db::PgConnection;
use crate::delivery::device_tokens::DeviceToken;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{DeviceTokenId, SessionId, UserId};
use crate::features::devices::model::{Device, Registration, Retirement, platform_from_column};

struct DeviceRow {
    id: DeviceTokenId,
    device_id: String,
    platform: String,
    app_version: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    last_registered_at: Timestamp,
    deactivated_at: Option<Timestamp>,
}

impl TryFrom<DeviceRow> for Device {
    type Error = sqlx::Error;

    fn try_from(row: DeviceRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.id,
            device_id: row.device_id,
            platform: platform_from_column(&row.platform)?,
            app_version: row.app_version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            last_registered_at: row.last_registered_at,
            deactivated_at: row.deactivated_at,
        })
    }
}

/// The login of a request, as far as the database knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    Active,
    Revoked,
    /// A token that was minted by hand belongs to no login.
    Unknown,
}

/// Locks the login, so that it cannot be ended between this look and the commit.
pub async fn lock_login(conn: &mut PgConnection, session: SessionId) -> Result<Login, sqlx::Error> {
    let revoked = sqlx::query_scalar!(
        r#"SELECT revoked_at IS NOT NULL AS "revoked!" FROM sessions WHERE id = $1 FOR SHARE"#,
        session.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(match revoked {
        None => Login::Unknown,
        Some(false) => Login::Active,
        Some(true) => Login::Revoked,
    })
}

/// Locks everything that the registration may change. Returns whether the user exists.
pub async fn lock(conn: &mut PgConnection, registration: &Registration) -> Result<bool, sqlx::Error> {
    let user =
        sqlx::query_scalar!("SELECT 1 FROM users WHERE id = $1 FOR NO KEY UPDATE", registration.user.0)
            .fetch_optional(&mut *conn)
            .await?;
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended('fcm_token:' || $1, 0))",
        registration.fcm_token
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query_scalar!(
        "SELECT 1 FROM device_tokens
         WHERE (user_id = $1 AND (device_id = $2 OR deactivated_at IS NULL))
            OR (fcm_token = $3 AND deactivated_at IS NULL)
         ORDER BY id FOR UPDATE",
        registration.user.0,
        registration.device_id,
        registration.fcm_token,
    )
    .fetch_all(conn)
    .await?;
    Ok(user.is_some())
}

/// Retires the token wherever else it is active.
pub async fn retire_elsewhere(
    conn: &mut PgConnection,
    registration: &Registration,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let retired = sqlx::query!(
        "UPDATE device_tokens SET deactivated_at = $4, updated_at = $4, deactivated_reason = $5
         WHERE fcm_token = $1 AND deactivated_at IS NULL AND NOT (user_id = $2 AND device_id = $3)",
        registration.fcm_token,
        registration.user.0,
        registration.device_id,
        now,
        Retirement::Moved.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(retired.rows_affected())
}

/// Writes the registration as active. Returns it, and whether the device is new.
pub async fn upsert(
    conn: &mut PgConnection,
    registration: &Registration,
    session: Option<SessionId>,
    now: Timestamp,
) -> Result<(Device, bool), sqlx::Error> {
    let id = DeviceTokenId::generate();
    let row = sqlx::query_as!(
        DeviceRow,
        r#"INSERT INTO device_tokens (id, user_id, session_id, device_id, fcm_token, platform, app_version, locale,
                                      created_at, updated_at, last_registered_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $9)
           ON CONFLICT (user_id, device_id) DO UPDATE SET
               session_id = EXCLUDED.session_id, fcm_token = EXCLUDED.fcm_token,
               platform = EXCLUDED.platform, app_version = EXCLUDED.app_version, locale = EXCLUDED.locale,
               updated_at = EXCLUDED.updated_at, last_registered_at = EXCLUDED.last_registered_at,
               deactivated_at = NULL, deactivated_reason = NULL
           RETURNING id AS "id: DeviceTokenId", device_id, platform, app_version, created_at, updated_at,
                     last_registered_at, deactivated_at"#,
        id.0,
        registration.user.0,
        session.map(|session| session.0),
        registration.device_id,
        registration.fcm_token,
        registration.platform.as_str(),
        registration.app_version,
        registration.locale,
        now,
    )
    .fetch_one(conn)
    .await?;
    let created = row.id == id;
    Ok((row.try_into()?, created))
}

/// Retires the user's oldest registrations beyond `active_max`; `spared` counts as the newest.
pub async fn retire_excess(
    conn: &mut PgConnection,
    user: UserId,
    spared: DeviceTokenId,
    active_max: u32,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let retired = sqlx::query!(
        "UPDATE device_tokens SET deactivated_at = $4, updated_at = $4, deactivated_reason = $5
         WHERE id IN (
             SELECT id FROM device_tokens
             WHERE user_id = $1 AND deactivated_at IS NULL
             ORDER BY id = $2 DESC, last_registered_at DESC, id DESC
             OFFSET $3)",
        user.0,
        spared.0,
        i64::from(active_max),
        now,
        Retirement::DeviceLimit.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(retired.rows_affected())
}

/// Deletes the user's retired registrations beyond `inactive_max`, the longest retired first.
pub async fn delete_excess(
    conn: &mut PgConnection,
    user: UserId,
    inactive_max: u32,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM device_tokens WHERE id IN (
             SELECT id FROM device_tokens
             WHERE user_id = $1 AND deactivated_at IS NOT NULL
             ORDER BY deactivated_at DESC, id DESC
             OFFSET $2
             FOR UPDATE SKIP LOCKED)",
        user.0,
        i64::from(inactive_max),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Retires one device of the user. Returns whether it was active.
pub async fn remove(
    executor: impl PgExecutor<'_>,
    user: UserId,
    device_id: &str,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let retired = sqlx::query!(
        "UPDATE device_tokens SET deactivated_at = $3, updated_at = $3, deactivated_reason = $4
         WHERE user_id = $1 AND device_id = $2 AND deactivated_at IS NULL",
        user.0,
        device_id,
        now,
        Retirement::Removed.as_str(),
    )
    .execute(executor)
    .await?;
    Ok(retired.rows_affected() > 0)
}

/// Retires what a login has registered: the person who signed out is not to be told anything here any more.
/// For the transaction that ends the login, after it has locked the login's row.
///
/// # Errors
/// When the database refuses; the caller's transaction is then void.
pub async fn retire_for_session(
    conn: &mut PgConnection,
    session: SessionId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE device_tokens SET deactivated_at = $2, updated_at = $2, deactivated_reason = $3
         WHERE id IN (
             SELECT id FROM device_tokens WHERE session_id = $1 AND deactivated_at IS NULL
             ORDER BY id FOR UPDATE)",
        session.0,
        now,
        Retirement::Logout.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Retires registrations last seen before `seen_before`, at most `batch_max`. Returns how many.
pub async fn retire_stale(
    executor: impl PgExecutor<'_>,
    seen_before: Timestamp,
    batch_max: u32,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let retired = sqlx::query!(
        "UPDATE device_tokens SET deactivated_at = $3, updated_at = $3, deactivated_reason = $4
         WHERE id IN (
             SELECT id FROM device_tokens
             WHERE last_registered_at < $1 AND deactivated_at IS NULL
             ORDER BY last_registered_at
             LIMIT $2
             FOR UPDATE SKIP LOCKED)",
        seen_before,
        i64::from(batch_max),
        now,
        Retirement::Stale.as_str(),
    )
    .execute(executor)
    .await?;
    Ok(retired.rows_affected())
}

/// Retires a token that FCM refused, unless it was registered again since it was read.
pub async fn retire_dead(
    executor: impl PgExecutor<'_>,
    token: &DeviceToken,
    reason: &str,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let retired = sqlx::query!(
        "UPDATE device_tokens SET deactivated_at = $4, updated_at = $4, deactivated_reason = $2
         WHERE id = $1 AND deactivated_at IS NULL AND last_registered_at = $3",
        token.id.0,
        reason,
        token.registered_at,
        now,
    )
    .execute(executor)
    .await?;
    Ok(retired.rows_affected() > 0)
}

/// The user's registrations, the newest first.
pub async fn list(
    executor: impl PgExecutor<'_>,
    user: UserId,
    include_inactive: bool,
) -> Result<Vec<Device>, sqlx::Error> {
    let rows = sqlx::query_as!(
        DeviceRow,
        r#"SELECT id AS "id: DeviceTokenId", device_id, platform, app_version, created_at, updated_at,
                  last_registered_at, deactivated_at
           FROM device_tokens
           WHERE user_id = $1 AND (deactivated_at IS NULL OR $2)
           ORDER BY last_registered_at DESC, id DESC"#,
        user.0,
        include_inactive,
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Those of these users who have something that can be pushed to.
pub async fn with_pushable(
    executor: impl PgExecutor<'_>,
    users: &[UserId],
    seen_after: Timestamp,
) -> Result<HashSet<UserId>, sqlx::Error> {
    let users: Vec<Uuid> = users.iter().map(|user| user.0).collect();
    let rows = sqlx::query_scalar!(
        "SELECT DISTINCT user_id FROM device_tokens
         WHERE user_id = ANY($1) AND deactivated_at IS NULL AND last_registered_at >= $2",
        &users,
        seen_after,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(UserId).collect())
}

/// What can be pushed to: active, and seen since `seen_after`.
pub async fn pushable(
    executor: impl PgExecutor<'_>,
    user: UserId,
    seen_after: Timestamp,
) -> Result<Vec<DeviceToken>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id: DeviceTokenId", device_id, fcm_token, platform, locale, last_registered_at
           FROM device_tokens
           WHERE user_id = $1 AND deactivated_at IS NULL AND last_registered_at >= $2
           ORDER BY last_registered_at DESC, id DESC"#,
        user.0,
        seen_after,
    )
    .fetch_all(executor)
    .await?;
    let tokens = rows.into_iter().map(|row| {
        Ok(DeviceToken {
            id: row.id,
            device_id: row.device_id,
            fcm_token: row.fcm_token,
            platform: platform_from_column(&row.platform)?,
            locale: row.locale,
            registered_at: row.last_registered_at,
        })
    });
    tokens.collect()
}
