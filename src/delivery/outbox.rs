//! The events table: what users must be told, in order, until it is settled.
//!
//! What is appended here is told by the dispatcher, confirmed by devices, and read again by who missed it. How
//! workers take on what nobody confirmed is in [`claims`](crate::delivery::claims).

use std::time::Duration;

use sqlx::PgExecutor;
use sqlx::postgres::types::PgInterval;

use crate::db::{EpochId, PgConnection};
use crate::delivery::event::{Committed, NewEvent, stored_frame};
use crate::delivery::mailbox::Numbered;
use crate::delivery::outcome::{Reason, Settled, SettledRow};
use crate::domain::ids::{EventId, UserId};
use crate::telemetry::traces::{self, TraceContext};

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
pub async fn append(conn: &mut PgConnection, events: Vec<NewEvent>) -> Result<Vec<Committed>, sqlx::Error> {
    traces::statement("postgres.events.append", append_each(conn, events)).await
}

async fn append_each(
    conn: &mut PgConnection,
    mut events: Vec<NewEvent>,
) -> Result<Vec<Committed>, sqlx::Error> {
    events.sort_by_key(|event| event.user);
    let mut committed = Vec::with_capacity(events.len());
    for event in events {
        let seq = sqlx::query_scalar!(
            r#"SELECT append_event($1, $2, $3, $4, $5, $6, $7) AS "seq!""#,
            event.id.0,
            event.user.0,
            event.kind,
            event.body,
            event.push_json(),
            event.ttl_ms(),
            event.traceparent(),
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
        "SELECT id, seq, body, traceparent FROM events WHERE user_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        user.0,
        after,
        limit,
    )
    .fetch_all(db)
    .await?;
    let numbered =
        rows.iter().map(|row| numbered(EventId(row.id), row.seq, &row.body, row.traceparent.as_deref()));
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
        "SELECT id, seq, body, traceparent FROM events
         WHERE user_id = $1 AND seq > $2 AND seq <= $3 AND outcome IS NULL ORDER BY seq LIMIT $4",
        user.0,
        after,
        up_to,
        limit,
    )
    .fetch_all(db)
    .await?;
    let numbered =
        rows.iter().map(|row| numbered(EventId(row.id), row.seq, &row.body, row.traceparent.as_deref()));
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

/// An event that a confirmation settled.
pub struct Confirmed {
    pub settled: Settled,
    /// From its commit to now.
    pub seconds: f64,
}

/// Settles all events of each user up to the seq that a device of theirs confirmed, for these reasons. The
/// three slices are parallel. Returns those that were not settled before.
pub async fn settle_confirmed(
    db: impl PgExecutor<'_>,
    users: &[uuid::Uuid],
    seqs: &[i64],
    reasons: &[String],
) -> Result<Vec<Confirmed>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        UPDATE events AS e SET outcome = 'delivered', reason = confirmed.reason, settled_at = clock_timestamp()
        FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS confirmed (user_id, seq, reason)
        CROSS JOIN LATERAL (
            SELECT id FROM events
            WHERE user_id = confirmed.user_id AND seq <= confirmed.seq AND outcome IS NULL
            ORDER BY seq FOR UPDATE
        ) AS mine
        WHERE e.id = mine.id
        RETURNING e.id AS "id: EventId", e.kind, e.reason AS "reason!", e.traceparent,
                  EXTRACT(EPOCH FROM e.settled_at - e.created_at)::float8 AS "seconds!"
        "#,
        users,
        seqs,
        reasons,
    )
    .fetch_all(db)
    .await?;
    let confirmed = rows.into_iter().map(|row| {
        let settled =
            SettledRow { id: row.id, kind: row.kind, reason: row.reason, traceparent: row.traceparent };
        Ok(Confirmed { settled: settled.try_into()?, seconds: row.seconds })
    });
    confirmed.collect()
}

/// What of a user's events they have seen elsewhere: those of these collapse keys whose push carries a number up to this one
/// in this field of its data.
pub struct Seen<'a> {
    pub user: UserId,
    pub collapse_keys: &'a [String],
    pub field: &'a str,
    pub up_to: i64,
}

/// Settles what is not settled of it, so that no phone is woken for it any more. Inside the caller's transaction, before it
/// appends.
pub async fn settle_seen(db: impl PgExecutor<'_>, seen: &Seen<'_>) -> Result<Vec<Settled>, sqlx::Error> {
    // Locked in the order of seq, as by a confirmation of the same events.
    let rows = sqlx::query_as!(
        SettledRow,
        r#"
        UPDATE events AS e SET outcome = $5, reason = $6, settled_at = clock_timestamp()
        FROM (
            SELECT id FROM events
            WHERE user_id = $1 AND outcome IS NULL AND push ->> 'collapse_key' = ANY($2)
              AND (push -> 'data' ->> $3)::bigint <= $4
            ORDER BY seq FOR UPDATE
        ) AS mine
        WHERE e.id = mine.id
        RETURNING e.id AS "id: EventId", e.kind, e.reason AS "reason!", e.traceparent
        "#,
        seen.user.0,
        seen.collapse_keys,
        seen.field,
        seen.up_to,
        Reason::Seen.outcome().as_str(),
        Reason::Seen.as_str(),
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Settled::try_from).collect()
}

/// Deletes settled events that are older than the retention, at most `limit`. Returns how many. Of a node whose clock
/// is ahead they stay for as much longer.
pub async fn prune(db: impl PgExecutor<'_>, retention: Duration, limit: i64) -> Result<u64, sqlx::Error> {
    let result = sqlx::query!(
        "DELETE FROM events WHERE id IN (
            SELECT id FROM events
            WHERE id < first_uuid_at(statement_timestamp() - $1::interval)
              AND created_at < statement_timestamp() - $1::interval AND outcome IS NOT NULL
            ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)",
        interval(retention),
        limit,
    )
    .execute(db)
    .await?;
    Ok(result.rows_affected())
}

/// Deletes settled events that have this many younger ones of the same user, at most `limit`. Returns how many.
pub async fn prune_crowded(db: impl PgExecutor<'_>, kept_max: i64, limit: i64) -> Result<u64, sqlx::Error> {
    let result = sqlx::query!(
        "DELETE FROM events WHERE id IN (
            SELECT e.id FROM inboxes AS i JOIN events AS e ON e.user_id = i.user_id AND e.seq <= i.last_seq - $1
            WHERE i.last_seq > $1 AND e.outcome IS NOT NULL
            LIMIT $2 FOR UPDATE OF e SKIP LOCKED)",
        kept_max,
        limit,
    )
    .execute(db)
    .await?;
    Ok(result.rows_affected())
}

fn numbered(id: EventId, seq: i64, body: &str, traceparent: Option<&str>) -> Numbered {
    Numbered { id, seq, frame: stored_frame(id, seq, body), trace: trace_of(traceparent) }
}

/// What the column says. One that says something else is not worth an error: its event has no trace.
pub(super) fn trace_of(traceparent: Option<&str>) -> Option<TraceContext> {
    traceparent?.parse().ok()
}

pub(super) fn interval(duration: Duration) -> PgInterval {
    let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}
