//! The events table: what users must be told, in order, until it is settled.
//!
//! Rows change state only from "not settled", in conditional updates, so that two workers racing are
//! harmless. Due rows are claimed by state, never by "id greater than the last one seen": a transaction that
//! commits late would be skipped for ever.

use std::time::Duration;

use serde::Deserialize as _;
use sqlx::PgExecutor;
use sqlx::postgres::types::PgInterval;

use crate::db::{EpochId, PgConnection};
use crate::delivery::event::{Committed, NewEvent, PushContent, frame};
use crate::delivery::mailbox::Numbered;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{EventId, UserId};

/// What became of an event in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A device confirmed it.
    Delivered,
    /// The push service took it.
    Pushed,
    /// Its time to live ended first.
    Expired,
}

impl Outcome {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Pushed => "pushed",
            Self::Expired => "expired",
        }
    }

    /// Counts an event that was settled so.
    pub fn count(self, kind: &str) {
        metrics::counter!(
            "fanlight_events_settled_total", "kind" => kind.to_owned(), "outcome" => self.as_str()
        )
        .increment(1);
    }
}

/// An unsettled event that one worker took on, until its lease ends.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub id: EventId,
    pub user: UserId,
    pub seq: i64,
    pub kind: String,
    pub body: String,
    /// What a push would say, as stored; [`Claimed::content`] reads it.
    pub push: Option<serde_json::Value>,
    /// Fences the worker: its settlement counts only while nobody claimed the event after it.
    pub claims: i32,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// The database's time of the claim: what all deadlines are measured by.
    pub now: Timestamp,
}

impl Claimed {
    /// What a push would say. Content that cannot be read is none: it must not hold up the other events,
    /// and its own still reaches whoever connects.
    #[must_use]
    pub fn content(&self) -> Option<PushContent> {
        let stored = self.push.as_ref()?;
        PushContent::deserialize(stored)
            .inspect_err(|error| {
                tracing::error!(event.id = %self.id, event.kind = self.kind, %error, "unreadable push content");
                metrics::counter!("fanlight_push_content_unreadable_total").increment(1);
            })
            .ok()
    }
}

/// What a client has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The last seq; none if it does not say.
    pub since: Option<i64>,
    /// In which past of the database; it may not know.
    pub epoch: Option<EpochId>,
}

/// Where a user's sequence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last seq given out; 0 before the first event.
    pub last_seq: i64,
    /// The oldest event after the client's last one that is still kept.
    pub first_kept_seq: Option<i64>,
    /// The past that the database has now; none before a node has begun one.
    pub epoch: Option<EpochId>,
    /// Whether the client's last event is still what it saw.
    pub shares_past: bool,
}

/// Appends events inside the caller's transaction, and gives each its place in its user's sequence.
///
/// Inboxes are locked in the order of user ids, so that two transactions that append for the same users
/// cannot deadlock. Take every other row lock before this one.
///
/// # Errors
/// When the database refuses; the caller's transaction is then void.
pub async fn append(
    conn: &mut PgConnection,
    mut events: Vec<NewEvent>,
) -> Result<Vec<Committed>, sqlx::Error> {
    events.sort_by_key(|event| event.user);
    let mut committed = Vec::with_capacity(events.len());
    for event in events {
        let seq = sqlx::query_scalar!(
            r#"SELECT append_event($1, $2, $3, $4, $5, $6) AS "seq!""#,
            event.id.0,
            event.user.0,
            event.kind,
            event.body,
            event.push_json(),
            event.ttl_ms(),
        )
        .fetch_one(&mut *conn)
        .await?;
        committed.push(event.committed(seq));
    }
    Ok(committed)
}

/// Where the user's sequence stands, what is kept of it after the cursor, and whether what the client saw is this
/// database's past. Without an epoch, that is taken for granted.
pub async fn position(
    db: impl PgExecutor<'_>,
    user: UserId,
    cursor: Cursor,
    retention: Duration,
) -> Result<Position, sqlx::Error> {
    // The event was there before the next epoch began, or else it may stand where another one was lost. One that
    // is not kept any more is older than the retention.
    sqlx::query_as!(
        Position,
        r#"
        SELECT coalesce((SELECT last_seq FROM inboxes WHERE user_id = $1), 0) AS "last_seq!",
               (SELECT min(seq) FROM events WHERE user_id = $1 AND seq > $2) AS first_kept_seq,
               (SELECT id FROM epochs ORDER BY ordinal DESC LIMIT 1) AS "epoch: EpochId",
               $2 = 0 OR $3::uuid IS NULL OR EXISTS (
                   SELECT 1 FROM epochs AS seen
                   LEFT JOIN epochs AS next ON next.ordinal = seen.ordinal + 1
                   WHERE seen.id = $3 AND (next.id IS NULL OR coalesce(
                       (SELECT created_at FROM events WHERE user_id = $1 AND seq = $2) < next.began_at,
                       next.began_at > clock_timestamp() - $4::interval
                   ))
               ) AS "shares_past!"
        "#,
        user.0,
        cursor.since.unwrap_or(0),
        cursor.epoch.map(|epoch| epoch.0),
        interval(retention),
    )
    .fetch_one(db)
    .await
}

/// The user's events after `after`, in order, at most `limit`, settled or not.
pub async fn read_after(
    db: impl PgExecutor<'_>,
    user: UserId,
    after: i64,
    limit: i64,
) -> Result<Vec<Numbered>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT id, seq, body FROM events WHERE user_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        user.0,
        after,
        limit,
    )
    .fetch_all(db)
    .await?;
    let numbered = rows
        .into_iter()
        .map(|row| Numbered { seq: row.seq, frame: frame(EventId(row.id), row.seq, &row.body) });
    Ok(numbered.collect())
}

/// The user's events that nobody has confirmed or pushed, from `after` to `up_to`, in order, at most `limit`.
pub async fn read_unsettled(
    db: impl PgExecutor<'_>,
    user: UserId,
    after: i64,
    up_to: i64,
    limit: i64,
) -> Result<Vec<Numbered>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT id, seq, body FROM events
         WHERE user_id = $1 AND seq > $2 AND seq <= $3 AND outcome IS NULL ORDER BY seq LIMIT $4",
        user.0,
        after,
        up_to,
        limit,
    )
    .fetch_all(db)
    .await?;
    let numbered = rows
        .into_iter()
        .map(|row| Numbered { seq: row.seq, frame: frame(EventId(row.id), row.seq, &row.body) });
    Ok(numbered.collect())
}

/// The last seq of each of these users who has any event.
pub async fn last_seqs(db: impl PgExecutor<'_>, users: &[UserId]) -> Result<Vec<(UserId, i64)>, sqlx::Error> {
    let ids: Vec<_> = users.iter().map(|user| user.0).collect();
    let rows = sqlx::query!("SELECT user_id, last_seq FROM inboxes WHERE user_id = ANY($1)", &ids)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(|row| (UserId(row.user_id), row.last_seq)).collect())
}

/// Takes on the events that were not confirmed at once and whose deadline is still to come, at most `limit`,
/// to route them again. They fall due at their deadline, whatever becomes of the caller; one that would
/// never be pushed (`unpushable_wait`) only at the end of its life.
pub async fn claim_unconfirmed(
    db: impl PgExecutor<'_>,
    limit: i64,
    deadline: Duration,
    unpushable_wait: bool,
) -> Result<Vec<Claimed>, sqlx::Error> {
    // The lower bound of `due_at` keeps the scan away from a pile of overdue events: a young one was first
    // due after its commit, and that was less than the deadline ago.
    sqlx::query_as!(
        Claimed,
        r#"
        UPDATE events SET claims = claims + 1, due_at = CASE
            WHEN push IS NULL AND $3 THEN expires_at ELSE least(created_at + $2::interval, expires_at) END
        WHERE id IN (
            SELECT id FROM events
            WHERE outcome IS NULL AND due_at <= clock_timestamp() AND due_at > clock_timestamp() - $2::interval
              AND created_at > clock_timestamp() - $2::interval AND expires_at > clock_timestamp()
            ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        RETURNING id AS "id: EventId", user_id AS "user: UserId", seq, kind, body, claims, push,
                  created_at, expires_at, clock_timestamp() AS "now!"
        "#,
        limit,
        interval(deadline),
        unpushable_wait,
    )
    .fetch_all(db)
    .await
}

/// Takes on events whose deadline has passed, at most `limit`, for the length of `lease`.
pub async fn claim_overdue(
    db: impl PgExecutor<'_>,
    limit: i64,
    deadline: Duration,
    lease: Duration,
) -> Result<Vec<Claimed>, sqlx::Error> {
    sqlx::query_as!(
        Claimed,
        r#"
        UPDATE events SET claims = claims + 1, due_at = clock_timestamp() + $3
        WHERE id IN (
            SELECT id FROM events
            WHERE outcome IS NULL AND due_at <= clock_timestamp()
              AND created_at <= clock_timestamp() - $2::interval AND expires_at > clock_timestamp()
            ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        RETURNING id AS "id: EventId", user_id AS "user: UserId", seq, kind, body, claims, push,
                  created_at, expires_at, clock_timestamp() AS "now!"
        "#,
        limit,
        interval(deadline),
        interval(lease),
    )
    .fetch_all(db)
    .await
}

/// Settles events whose life is over, at most `limit`: as expired, or as delivered if a device confirmed it
/// while others were waited for. Returns the kind and outcome of each.
pub async fn expire(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<(String, Outcome)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        UPDATE events AS e SET settled_at = clock_timestamp(), outcome = CASE
            WHEN EXISTS (SELECT 1 FROM device_cursors c
                         WHERE c.user_id = e.user_id AND c.confirmed_seq >= e.seq)
            THEN 'delivered' ELSE 'expired' END
        WHERE id IN (
            SELECT id FROM events
            WHERE outcome IS NULL AND due_at <= clock_timestamp() AND expires_at <= clock_timestamp()
            ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        RETURNING kind, outcome = 'delivered' AS "delivered!"
        "#,
        limit,
    )
    .fetch_all(db)
    .await?;
    let outcome = |delivered| if delivered { Outcome::Delivered } else { Outcome::Expired };
    Ok(rows.into_iter().map(|row| (row.kind, outcome(row.delivered))).collect())
}

/// Takes on one event that nobody has claimed or settled yet.
pub async fn claim_fresh(
    db: impl PgExecutor<'_>,
    event: EventId,
    lease: Duration,
) -> Result<Option<Claimed>, sqlx::Error> {
    sqlx::query_as!(
        Claimed,
        r#"
        UPDATE events SET claims = claims + 1, due_at = clock_timestamp() + $2
        WHERE id = $1 AND outcome IS NULL AND claims = 0
        RETURNING id AS "id: EventId", user_id AS "user: UserId", seq, kind, body, claims, push,
                  created_at, expires_at, clock_timestamp() AS "now!"
        "#,
        event.0,
        interval(lease),
    )
    .fetch_optional(db)
    .await
}

/// Gives a claimed event back, to be looked at again at `due_at`.
pub async fn reschedule(
    db: impl PgExecutor<'_>,
    claimed: &Claimed,
    due_at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE events SET due_at = $3 WHERE id = $1 AND claims = $2 AND outcome IS NULL",
        claimed.id.0,
        claimed.claims,
        due_at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Settles a claimed event. Returns whether it was this call that did.
pub async fn settle(
    db: impl PgExecutor<'_>,
    claimed: &Claimed,
    outcome: Outcome,
) -> Result<bool, sqlx::Error> {
    let result = sqlx::query!(
        "UPDATE events SET outcome = $3, settled_at = clock_timestamp()
         WHERE id = $1 AND claims = $2 AND outcome IS NULL",
        claimed.id.0,
        claimed.claims,
        outcome.as_str(),
    )
    .execute(db)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Settles all events of each user up to the seq that a device of theirs confirmed. Returns for each event
/// that was not settled before its kind, and the seconds since its commit.
pub async fn settle_confirmed(
    db: impl PgExecutor<'_>,
    users: &[uuid::Uuid],
    seqs: &[i64],
) -> Result<Vec<(String, f64)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        UPDATE events AS e SET outcome = 'delivered', settled_at = clock_timestamp()
        FROM unnest($1::uuid[], $2::bigint[]) AS confirmed (user_id, seq)
        WHERE e.user_id = confirmed.user_id AND e.seq <= confirmed.seq AND e.outcome IS NULL
        RETURNING e.kind, EXTRACT(EPOCH FROM e.settled_at - e.created_at)::float8 AS "seconds!"
        "#,
        users,
        seqs,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.kind, row.seconds)).collect())
}

/// Deletes settled events that are older than the retention, at most `limit`. Returns how many.
pub async fn prune(db: impl PgExecutor<'_>, retention: Duration, limit: i64) -> Result<u64, sqlx::Error> {
    let result = sqlx::query!(
        "DELETE FROM events WHERE id IN (
            SELECT id FROM events
            WHERE created_at < clock_timestamp() - $1::interval AND outcome IS NOT NULL
            ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        interval(retention),
        limit,
    )
    .execute(db)
    .await?;
    Ok(result.rows_affected())
}

pub(super) fn interval(duration: Duration) -> PgInterval {
    let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}
