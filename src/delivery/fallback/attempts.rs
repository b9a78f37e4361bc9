//! The record of each attempt to wake a device: one row per event and device.

use std::time::Duration;

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::delivery::fallback::lanes::Lane;
use crate::delivery::outbox::interval;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{DeviceTokenId, EventId};

/// How one attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The push service took it.
    Accepted,
    /// The token will never work again.
    TokenDead { reason: &'static str },
    /// The message will never be taken.
    Refused { reason: &'static str },
    /// May work later. `counts`: whether the service was asked at all.
    Later { after: Duration, reason: &'static str, counts: bool },
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::TokenDead { .. } => "token_dead",
            Self::Refused { .. } => "refused",
            Self::Later { .. } => "later",
        }
    }
}

/// An attempt that is due.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    pub token: DeviceTokenId,
    /// Attempts made before this one.
    pub attempts: i32,
}

/// What all attempts at one event amount to.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    pub accepted: bool,
    pub refused: bool,
    /// When the next attempt is due; `None`: none is left to make.
    pub next_attempt_at: Option<Timestamp>,
}

/// Opens an attempt for each token that has none yet, renews the claim, and returns the attempts that are
/// due now. None of them if the event was settled or claimed by another worker meanwhile: this is the last
/// look before the push service is asked.
///
/// What an earlier event of the lane was told to wait for a token, this one waits too. A token that was called
/// dead and is active has been registered again.
pub async fn open(
    db: impl PgExecutor<'_>,
    lane: &Lane,
    tokens: &[Uuid],
    lease: Duration,
) -> Result<Vec<Due>, sqlx::Error> {
    sqlx::query_as!(
        Due,
        r#"
        WITH held AS (
            UPDATE events SET due_at = clock_timestamp() + $4
            WHERE id = $1 AND claims = $2 AND settled_at IS NULL RETURNING id, user_id, seq
        ), opened AS (
            INSERT INTO pushes AS p (event_id, device_token_id, next_attempt_at, updated_at)
            SELECT held.id, token, coalesce(
                (SELECT max(earlier.next_attempt_at) FROM events e JOIN pushes earlier ON earlier.event_id = e.id
                 WHERE e.user_id = held.user_id AND e.seq < held.seq AND e.outcome IS NULL
                   AND e.push ->> 'collapse_key' = $5
                   AND earlier.device_token_id = token AND earlier.outcome IS NULL),
                clock_timestamp()), clock_timestamp()
            FROM held, unnest($3::uuid[]) AS token
            ON CONFLICT (event_id, device_token_id) DO UPDATE SET
                updated_at = excluded.updated_at, outcome = nullif(p.outcome, 'token_dead')
            RETURNING device_token_id, attempts, outcome, next_attempt_at
        )
        SELECT device_token_id AS "token: DeviceTokenId", attempts FROM opened
        WHERE outcome IS NULL AND next_attempt_at <= clock_timestamp()
        "#,
        lane.newest.id.0,
        lane.newest.claims,
        tokens,
        interval(lease),
        lane.collapse_key,
    )
    .fetch_all(db)
    .await
}

/// Writes down how an attempt ended. A worker that comes late does not take back what another has achieved.
pub async fn record(
    db: impl PgExecutor<'_>,
    event: EventId,
    token: DeviceTokenId,
    verdict: Verdict,
) -> Result<(), sqlx::Error> {
    let (outcome, reason, after, counted) = match verdict {
        Verdict::Accepted => (Some("accepted"), None, Duration::ZERO, 1),
        Verdict::TokenDead { reason } => (Some("token_dead"), Some(reason), Duration::ZERO, 1),
        Verdict::Refused { reason } => (Some("refused"), Some(reason), Duration::ZERO, 1),
        Verdict::Later { after, reason, counts } => (None, Some(reason), after, i32::from(counts)),
    };
    sqlx::query!(
        "UPDATE pushes SET attempts = attempts + $6, outcome = $3, reason = $4,
             next_attempt_at = clock_timestamp() + $5, updated_at = clock_timestamp()
         WHERE event_id = $1 AND device_token_id = $2 AND outcome IS NULL",
        event.0,
        token.0,
        outcome,
        reason,
        interval(after),
        counted,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// What the attempts at these tokens amount to.
pub async fn summary(
    db: impl PgExecutor<'_>,
    event: EventId,
    tokens: &[Uuid],
) -> Result<Summary, sqlx::Error> {
    sqlx::query_as!(
        Summary,
        r#"
        SELECT coalesce(bool_or(outcome = 'accepted'), false) AS "accepted!",
               coalesce(bool_or(outcome = 'refused'), false) AS "refused!",
               min(next_attempt_at) FILTER (WHERE outcome IS NULL AND device_token_id = ANY($2))
                   AS next_attempt_at
        FROM pushes WHERE event_id = $1
        "#,
        event.0,
        tokens,
    )
    .fetch_one(db)
    .await
}
