//! One push at a time for what replaces itself on a phone.
//!
//! All events of a user with the same collapse key are one lane: on the device a later one replaces an earlier
//! one, so only the newest is worth a push, and it speaks for all before it. Whoever is due takes the lane and
//! pushes the newest; the others are settled with it. After an accepted push the lane rests, so that a burst
//! costs two pushes, its first and its last. A worker that dies loses the lane when its lease ends.

use std::time::Duration;

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::delivery::claims::Claimed;
use crate::delivery::outbox::interval;
use crate::delivery::outcome::{Reason, Settled, SettledRow, count_parked};
use crate::domain::clock::Timestamp;
use crate::domain::ids::EventId;

/// A lane that one worker has taken.
pub struct Lane {
    pub collapse_key: String,
    hold_id: Uuid,
    /// What is pushed: the newest event of the lane, claimed.
    pub newest: Claimed,
}

/// When the events of a lane are looked at again.
pub struct Later {
    pub due_at: Timestamp,
    /// Why none of them can be pushed now; `None`: they will be.
    pub reason: Option<Reason>,
    /// Only the newest, because the fault is its own: those before it are due at once. Otherwise all up to it.
    pub newest_only: bool,
}

/// Takes the lane of a claimed event for the length of `lease`, and with it the newest event. `None` if another
/// worker has it or it rests, or the event was settled or claimed by another meanwhile.
pub async fn take(
    db: impl PgExecutor<'_>,
    claimed: &Claimed,
    collapse_key: &str,
    lease: Duration,
) -> Result<Option<Lane>, sqlx::Error> {
    let hold_id = Uuid::now_v7();
    let newest = sqlx::query_as!(
        Claimed,
        r#"
        WITH lane AS (
            INSERT INTO push_lanes AS l (user_id, collapse_key, hold_id, free_at)
            SELECT user_id, $3, $4, clock_timestamp() + $5
            FROM events WHERE id = $1 AND claims = $2 AND settled_at IS NULL
            ON CONFLICT (user_id, collapse_key) DO UPDATE SET hold_id = excluded.hold_id, free_at = excluded.free_at
            WHERE l.free_at <= clock_timestamp()
            RETURNING user_id
        )
        UPDATE events SET claims = claims + 1, due_at = clock_timestamp() + $5
        WHERE id = (
            SELECT e.id FROM events e JOIN lane ON lane.user_id = e.user_id
            WHERE e.outcome IS NULL AND e.push ->> 'collapse_key' = $3 AND e.expires_at > clock_timestamp()
              AND (e.id = $1 OR coalesce(e.reason, '') NOT IN ('refused', 'unreadable'))
            ORDER BY e.seq DESC LIMIT 1 FOR UPDATE OF e
        )
        RETURNING id AS "id: EventId", user_id AS "user: _", seq, kind, body, claims, push,
                  traceparent, created_at, expires_at, clock_timestamp() AS "now!"
        "#,
        claimed.id.0,
        claimed.claims,
        collapse_key,
        hold_id,
        interval(lease),
    )
    .fetch_optional(db)
    .await?;
    Ok(newest.map(|newest| Lane { collapse_key: collapse_key.to_owned(), hold_id, newest }))
}

/// Gives a claimed event back until its lane has rested; while a worker has it, for `pause`: most need less than
/// their lease.
pub async fn wait_turn(
    db: impl PgExecutor<'_>,
    claimed: &Claimed,
    collapse_key: &str,
    pause: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE events SET due_at = least(expires_at, coalesce(
             (SELECT CASE WHEN hold_id IS NULL THEN free_at ELSE least(free_at, clock_timestamp() + $5) END
              FROM push_lanes WHERE user_id = $3 AND collapse_key = $4), clock_timestamp()))
         WHERE id = $1 AND claims = $2 AND settled_at IS NULL",
        claimed.id.0,
        claimed.claims,
        claimed.user.0,
        collapse_key,
        interval(pause),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Lengthens the hold of a worker that is still at it. Returns whether it was still its own.
pub async fn renew(db: impl PgExecutor<'_>, lane: &Lane, lease: Duration) -> Result<bool, sqlx::Error> {
    let result = sqlx::query!(
        "WITH lane AS (
             UPDATE push_lanes SET free_at = clock_timestamp() + $6
             WHERE user_id = $3 AND collapse_key = $4 AND hold_id = $5
         )
         UPDATE events SET due_at = clock_timestamp() + $6 WHERE id = $1 AND claims = $2 AND settled_at IS NULL",
        lane.newest.id.0,
        lane.newest.claims,
        lane.newest.user.0,
        lane.collapse_key,
        lane.hold_id,
        interval(lease),
    )
    .execute(db)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Settles the newest event for `reason` and those before it for `reason_before`, and lets the lane rest.
/// Returns them; none if the claim was lost.
pub async fn settle(
    db: impl PgExecutor<'_>,
    lane: &Lane,
    reason: Reason,
    reason_before: Reason,
    rest: Duration,
) -> Result<Vec<Settled>, sqlx::Error> {
    // Locked in the order of seq, as by a confirmation of the same events.
    let rows = sqlx::query_as!(
        SettledRow,
        r#"
        WITH bundle AS MATERIALIZED (
            SELECT id, claims FROM events
            WHERE user_id = $3 AND seq <= $4 AND outcome IS NULL AND push ->> 'collapse_key' = $5
            ORDER BY seq FOR UPDATE
        ), lane AS (
            UPDATE push_lanes SET hold_id = NULL, free_at = clock_timestamp() + $7
            WHERE user_id = $3 AND collapse_key = $5 AND hold_id = $6
        )
        UPDATE events AS e SET outcome = $8, settled_at = clock_timestamp(),
            reason = CASE WHEN e.id = $1 THEN $9 ELSE $10 END
        FROM bundle
        WHERE e.id = bundle.id AND EXISTS (SELECT 1 FROM bundle WHERE id = $1 AND claims = $2)
        RETURNING e.id AS "id: EventId", e.kind, e.reason AS "reason!", e.traceparent
        "#,
        lane.newest.id.0,
        lane.newest.claims,
        lane.newest.user.0,
        lane.newest.seq,
        lane.collapse_key,
        lane.hold_id,
        interval(rest),
        reason.outcome().as_str(),
        reason.as_str(),
        reason_before.as_str(),
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Settled::try_from).collect()
}

/// Leaves the lane's events for later, and frees the lane.
pub async fn postpone(db: impl PgExecutor<'_>, lane: &Lane, later: Later) -> Result<(), sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        WITH bundle AS MATERIALIZED (
            SELECT id, claims, reason FROM events
            WHERE user_id = $3 AND seq <= $4 AND outcome IS NULL AND push ->> 'collapse_key' = $5
              AND (id = $1 OR NOT $9 OR coalesce(reason, '') NOT IN ('refused', 'unreadable'))
            ORDER BY seq FOR UPDATE
        ), lane AS (
            UPDATE push_lanes SET hold_id = NULL, free_at = clock_timestamp()
            WHERE user_id = $3 AND collapse_key = $5 AND hold_id = $6
        )
        UPDATE events AS e SET
            due_at = CASE WHEN e.id = $1 OR NOT $9 THEN least($7, e.expires_at) ELSE clock_timestamp() END,
            reason = CASE WHEN e.id = $1 OR NOT $9 THEN $8 ELSE e.reason END
        FROM bundle
        WHERE e.id = bundle.id AND EXISTS (SELECT 1 FROM bundle WHERE id = $1 AND claims = $2)
        RETURNING e.kind, bundle.reason IS DISTINCT FROM e.reason AS "changed!"
        "#,
        lane.newest.id.0,
        lane.newest.claims,
        lane.newest.user.0,
        lane.newest.seq,
        lane.collapse_key,
        lane.hold_id,
        later.due_at,
        later.reason.map(Reason::as_str),
        later.newest_only,
    )
    .fetch_all(db)
    .await?;
    if let Some(reason) = later.reason {
        rows.iter().filter(|row| row.changed).for_each(|row| count_parked(&row.kind, reason));
    }
    Ok(())
}

/// Forgets lanes that have been free for a while, at most `limit`. Returns how many.
pub async fn prune(db: impl PgExecutor<'_>, limit: i64) -> Result<u64, sqlx::Error> {
    let result = sqlx::query!(
        "DELETE FROM push_lanes WHERE (user_id, collapse_key) IN (
             SELECT user_id, collapse_key FROM push_lanes
             WHERE free_at < statement_timestamp() - interval '1 hour' ORDER BY free_at LIMIT $1
             FOR UPDATE SKIP LOCKED)",
        limit,
    )
    .execute(db)
    .await?;
    Ok(result.rows_affected())
}
