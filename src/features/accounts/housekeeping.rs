//! Deletes sessions that ended long ago, and refresh tokens used long ago.
//!
//! In small batches, so that no statement holds many locks; several nodes at once skip each other's rows.

use std::time::Duration;

use super::config::Config;
use super::repository::sessions;
use crate::db::{PgPool, within_deadline};
use crate::domain::clock::SharedClock;
use crate::shutdown::Shutdown;

const PERIOD: Duration = Duration::from_hours(1);
const BATCH: i64 = 500;
/// What one run may delete; the rest waits for the next.
const BATCHES_MAX: usize = 200;

/// Cleans up every hour until the process stops.
pub async fn run(pool: PgPool, clock: SharedClock, config: Config, shutdown: Shutdown) {
    let mut timer = tokio::time::interval(PERIOD);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while shutdown.unless_stopped(timer.tick()).await.is_some() {
        match shutdown.unless_stopped(clean_up(&pool, &clock, &config)).await {
            Some(Ok(deleted)) => tracing::debug!(rows = deleted, "ended sessions were deleted"),
            Some(Err(error)) => tracing::warn!(%error, "ended sessions cannot be deleted"),
            None => return,
        }
    }
}

/// One run. Returns how many rows it deleted.
///
/// # Errors
/// When Postgres does not answer; what was deleted before stays deleted.
pub async fn clean_up(pool: &PgPool, clock: &SharedClock, config: &Config) -> Result<u64, sqlx::Error> {
    let before = clock.now() - config.ended_sessions_kept();
    let mut deleted = 0;
    for _ in 0..BATCHES_MAX {
        let batch = within_deadline(sessions::delete_ended(pool, before, BATCH)).await?
            + within_deadline(sessions::delete_used_tokens(pool, before, BATCH)).await?;
        deleted += batch;
        if batch == 0 {
            break;
        }
    }
    metrics::counter!("fanlight_accounts_rows_deleted_total").increment(deleted);
    Ok(deleted)
}
