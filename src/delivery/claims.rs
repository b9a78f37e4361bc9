//! How workers take on the events that nobody has confirmed, without getting in each other's way.
//!
//! Due rows are claimed by state, never by "id greater than the last one seen": a transaction that commits late
//! would be skipped for ever. Rows change state only from "not settled", in conditional updates that name the
//! claim, so that two workers racing are harmless. All deadlines are by the database's clock: the column whose
//! index is to be searched is compared with `statement_timestamp()`, the others with `clock_timestamp()`, which is
//! volatile, so that no index is searched by it. Which of the two columns that say "not settled" a statement names
//! decides which index it may use: see `0007_due_events.sql`.

use std::time::Duration;

use serde::Deserialize as _;
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::delivery::event::PushContent;
use crate::delivery::outbox::{interval, trace_of};
use crate::delivery::outcome::{Reason, Settled, SettledRow, count_parked};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{EventId, UserId};
use crate::telemetry::traces::TraceContext;

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
    /// The trace, as stored; [`Claimed::trace`] reads it.
    pub traceparent: Option<String>,
    /// Fences the worker: its settlement counts only while nobody claimed the event after it.
    pub claims: i32,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// The database's time of the claim: what all deadlines are measured by.
    pub now: Timestamp,
}

impl Claimed {
    /// The request that it comes of, if that is traced.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        trace_of(self.traceparent.as_deref())
    }

    /// What a push would say, or why there is nothing that it could. Content that cannot be read must not hold
    /// up the other events, and its own event still reaches whoever connects.
    pub fn content(&self) -> Result<PushContent, Reason> {
        let stored = self.push.as_ref().ok_or(Reason::Silent)?;
        PushContent::deserialize(stored).map_err(|error| {
            tracing::error!(event.id = %self.id, event.kind = self.kind, %error, "unreadable push content");
            Reason::Unreadable
        })
    }
}

/// Claims the events that `$which` selects, and makes them due again at `$due_at`.
macro_rules! claim {
    ($due_at:literal, $which:literal, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            Claimed,
            "UPDATE events SET claims = claims + 1, due_at = " + $due_at
            + " WHERE id IN (SELECT id FROM events WHERE settled_at IS NULL AND " + $which + ")"
            + r#" RETURNING id AS "id: EventId", user_id AS "user: UserId", seq, kind, body, claims, push,
                            traceparent, created_at, expires_at, clock_timestamp() AS "now!""#,
            $($argument),+
        )
    };
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
    claim!(
        "CASE WHEN push IS NULL AND $3 THEN expires_at ELSE least(created_at + $2::interval, expires_at) END",
        "outcome IS NULL AND due_at <= statement_timestamp() AND due_at > statement_timestamp() - $2::interval
         AND created_at > clock_timestamp() - $2::interval AND expires_at > clock_timestamp()
         ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED",
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
    claim!(
        "clock_timestamp() + $3",
        "outcome IS NULL AND due_at <= statement_timestamp() AND created_at <= clock_timestamp() - $2::interval
         AND expires_at > clock_timestamp() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED",
        limit,
        interval(deadline),
        interval(lease),
    )
    .fetch_all(db)
    .await
}

/// Takes on those of these events that nobody has claimed or settled yet.
pub async fn claim_fresh(
    db: impl PgExecutor<'_>,
    events: &[EventId],
    lease: Duration,
) -> Result<Vec<Claimed>, sqlx::Error> {
    let ids: Vec<Uuid> = events.iter().map(|event| event.0).collect();
    claim!(
        "clock_timestamp() + $2",
        "id = ANY($1) AND claims = 0 FOR UPDATE SKIP LOCKED",
        &ids,
        interval(lease)
    )
    .fetch_all(db)
    .await
}

/// Settles a claimed event. Returns it, unless somebody else has settled or claimed it.
pub async fn settle(
    db: impl PgExecutor<'_>,
    claimed: &Claimed,
    reason: Reason,
) -> Result<Option<Settled>, sqlx::Error> {
    let result = sqlx::query!(
        "UPDATE events SET outcome = $3, reason = $4, settled_at = clock_timestamp()
         WHERE id = $1 AND claims = $2 AND settled_at IS NULL",
        claimed.id.0,
        claimed.claims,
        reason.outcome().as_str(),
        reason.as_str(),
    )
    .execute(db)
    .await?;
    Ok((result.rows_affected() == 1).then(|| Settled {
        id: claimed.id,
        kind: claimed.kind.clone(),
        reason,
        trace: claimed.trace(),
    }))
}

/// Leaves claimed events to their users' next connect, for this reason; somebody looks at them again at `due_at`,
/// and at one that another statement has locked when its lease ends.
pub async fn park(
    db: impl PgExecutor<'_>,
    claimed: &[Claimed],
    reason: Reason,
    due_at: Timestamp,
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = claimed.iter().map(|event| event.id.0).collect();
    let claims: Vec<i32> = claimed.iter().map(|event| event.claims).collect();
    let rows = sqlx::query!(
        r#"UPDATE events AS e SET due_at = least($3, e.expires_at), reason = $4
           FROM (SELECT id, reason FROM events
                 WHERE (id, claims) IN (SELECT * FROM unnest($1::uuid[], $2::int[])) AND settled_at IS NULL
                 FOR UPDATE SKIP LOCKED) AS before
           WHERE e.id = before.id
           RETURNING e.kind, before.reason IS DISTINCT FROM e.reason AS "changed!""#,
        &ids,
        &claims,
        due_at,
        reason.as_str(),
    )
    .fetch_all(db)
    .await?;
    rows.iter().filter(|row| row.changed).for_each(|row| count_parked(&row.kind, reason));
    Ok(())
}

/// Makes the events due that wait because no device of these users could be woken: now there may be one.
pub async fn wake(db: impl PgExecutor<'_>, users: &[UserId]) -> Result<(), sqlx::Error> {
    let users: Vec<Uuid> = users.iter().map(|user| user.0).collect();
    sqlx::query!(
        "UPDATE events SET due_at = clock_timestamp(), reason = NULL
         WHERE user_id = ANY($1) AND outcome IS NULL AND reason IN ('no_device', 'token_dead', 'given_up')",
        &users,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Settles events whose life is over, at most `limit`: as expired, or as delivered if a device confirmed it
/// while others were waited for.
pub async fn expire(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<Settled>, sqlx::Error> {
    let rows = sqlx::query_as!(
        SettledRow,
        r#"
        UPDATE events AS e SET settled_at = clock_timestamp(), (outcome, reason) = (
            SELECT CASE WHEN confirmed THEN 'delivered' ELSE 'expired' END,
                   CASE WHEN confirmed THEN 'some_device'
                        ELSE coalesce(e.reason, CASE WHEN e.push IS NULL THEN 'silent' ELSE 'unconfirmed' END)
                   END
            FROM (SELECT EXISTS (SELECT 1 FROM device_cursors c
                                 WHERE c.user_id = e.user_id AND c.confirmed_seq >= e.seq) AS confirmed) AS any_device)
        WHERE id IN (
            SELECT id FROM events
            WHERE outcome IS NULL AND settled_at IS NULL
              AND due_at <= statement_timestamp() AND expires_at <= statement_timestamp()
            ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        RETURNING id AS "id: EventId", kind, reason AS "reason!", traceparent
        "#,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Settled::try_from).collect()
}
