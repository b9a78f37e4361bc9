//! The `statuses` table.
//!
//! Lock order, here and in linking: the users' rows, then theirs in other tables, then their inboxes by
//! user id. Nobody who holds a later lock waits for an earlier one.

use std::time::Duration;

use sqlx::PgExecutor;

use crate::db::PgConnection;
use crate::delivery::event::NewEvent;
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::features::status::model::{Light, Person, Status, Timer};

struct PersonRow {
    id: UserId,
    display_name: Option<String>,
    partner_id: Option<UserId>,
    status: Option<String>,
    base_status: Option<String>,
    duration_seconds: Option<i64>,
    expires_at: Option<Timestamp>,
}

impl PersonRow {
    fn at(self, now: Timestamp) -> Result<Person, sqlx::Error> {
        let status =
            |text: Option<String>| text.map_or(Ok(Status::Offline), |text| Status::from_column(&text));
        let stored =
            Light { status: status(self.status)?, timer: timer(self.expires_at, self.duration_seconds) };
        Ok(Person {
            id: self.id,
            display_name: self.display_name,
            partner: self.partner_id,
            light: stored.at(now, status(self.base_status)?),
        })
    }
}

fn timer(expires_at: Option<Timestamp>, duration_seconds: Option<i64>) -> Option<Timer> {
    let duration_seconds = u32::try_from(duration_seconds?).unwrap_or(u32::MAX);
    Some(Timer { expires_at: expires_at?, duration_seconds })
}

/// The user as of `now`; `None` if there is no such user.
pub async fn person(
    executor: impl PgExecutor<'_>,
    user: UserId,
    now: Timestamp,
) -> Result<Option<Person>, sqlx::Error> {
    let row = sqlx::query_as!(
        PersonRow,
        r#"SELECT u.id AS "id: UserId", COALESCE(u.display_name, u.full_name, u.username) AS display_name,
                  p.partner_id AS "partner_id?: UserId", s.status AS "status?",
                  s.base_status AS "base_status?", s.duration_seconds, s.expires_at
           FROM users u
           LEFT JOIN partners p ON p.user_id = u.id
           LEFT JOIN statuses s ON s.user_id = u.id
           WHERE u.id = $1"#,
        user.0,
    )
    .fetch_optional(executor)
    .await?;
    row.map(|row| row.at(now)).transpose()
}

/// The user's partner as of `now`; `None` if they are not linked.
pub async fn partner(
    executor: impl PgExecutor<'_>,
    user: UserId,
    now: Timestamp,
) -> Result<Option<Person>, sqlx::Error> {
    let row = sqlx::query_as!(
        PersonRow,
        r#"SELECT u.id AS "id: UserId", COALESCE(u.display_name, u.full_name, u.username) AS display_name,
                  p.user_id AS "partner_id?: UserId", s.status AS "status?",
                  s.base_status AS "base_status?", s.duration_seconds, s.expires_at
           FROM partners p
           JOIN users u ON u.id = p.partner_id
           LEFT JOIN statuses s ON s.user_id = u.id
           WHERE p.user_id = $1"#,
        user.0,
    )
    .fetch_optional(executor)
    .await?;
    row.map(|row| row.at(now)).transpose()
}

/// A status change with what it tells; who the partner is, if anybody, only the statement finds out.
pub struct StatusChange<'a> {
    pub user: UserId,
    pub light: Light,
    pub at: Timestamp,
    pub for_actor: &'a NewEvent,
    /// Its `user` is not read.
    pub for_partner: &'a NewEvent,
}

/// Where an event of a status change went.
pub struct Told {
    pub user: UserId,
    pub seq: i64,
}

/// Changes the light and appends the events, in one statement: see `change.sql`.
pub async fn change(
    executor: impl PgExecutor<'_>,
    change: &StatusChange<'_>,
) -> Result<Vec<Told>, sqlx::Error> {
    let StatusChange { user, light, at, for_actor, for_partner } = change;
    sqlx::query_file_as!(
        Told,
        "src/features/status/change.sql",
        user.0,
        light.status.as_str(),
        light.timer.map(|timer| i64::from(timer.duration_seconds)),
        light.timer.map(|timer| timer.expires_at),
        *at,
        for_actor.id.0,
        for_actor.kind,
        for_actor.body,
        for_actor.ttl_ms(),
        for_partner.id.0,
        for_partner.kind,
        for_partner.body,
        for_partner.ttl_ms(),
        for_partner.push_json(),
        for_partner.traceparent(),
    )
    .fetch_all(executor)
    .await
}

/// Locks users whose timed status is over, at most `batch_max`, and passes over those whom somebody else has
/// locked: another node ends their status, or they are changing it themselves.
pub async fn lock_due(
    conn: &mut PgConnection,
    now: Timestamp,
    batch_max: u32,
) -> Result<Vec<uuid::Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT u.id
         FROM statuses s JOIN users u ON u.id = s.user_id
         WHERE s.expires_at <= $1
         ORDER BY s.expires_at
         LIMIT $2
         FOR NO KEY UPDATE OF u SKIP LOCKED",
        now,
        i64::from(batch_max),
    )
    .fetch_all(conn)
    .await
}

/// A status that fell back to what was before it.
pub struct Lapsed {
    pub user: UserId,
    pub status: String,
    pub name: Option<String>,
    pub partner: Option<UserId>,
}

/// Ends the timed statuses of these users. A statement of its own after [`lock_due`], so that it sees what was
/// committed before the locks were granted: a timer that was renewed, a partner who has left.
pub async fn lapse(
    conn: &mut PgConnection,
    users: &[uuid::Uuid],
    now: Timestamp,
) -> Result<Vec<Lapsed>, sqlx::Error> {
    sqlx::query_as!(
        Lapsed,
        r#"UPDATE statuses s
           SET status = s.base_status, duration_seconds = NULL, expires_at = NULL, updated_at = $2
           FROM users u LEFT JOIN partners p ON p.user_id = u.id
           WHERE s.user_id = ANY($1) AND s.expires_at <= $2 AND u.id = s.user_id
           RETURNING s.user_id AS "user: UserId", s.status,
                     COALESCE(u.display_name, u.full_name, u.username) AS name,
                     p.partner_id AS "partner?: UserId""#,
        users,
        now,
    )
    .fetch_all(conn)
    .await
}

/// How long until the next timed status is over; `None` if there is none.
pub async fn next_lapse(
    executor: impl PgExecutor<'_>,
    now: Timestamp,
) -> Result<Option<Duration>, sqlx::Error> {
    let next = sqlx::query_scalar!("SELECT min(expires_at) FROM statuses WHERE expires_at IS NOT NULL")
        .fetch_one(executor)
        .await?;
    Ok(next.map(|next| (next - now).to_std().unwrap_or_default()))
}
