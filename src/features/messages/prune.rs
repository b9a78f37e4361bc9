//! Forgets what happened to messages long ago: who missed it reads the messages themselves.
//!
//! In small batches, so that no statement holds many locks; several nodes at once skip each other's rows.

use std::time::Duration;

use crate::db::PgPool;
use crate::features::batches;
use crate::features::messages::config::Config;
use crate::features::messages::repository::history;
use crate::shutdown::Shutdown;

/// Runs until the process stops.
pub async fn run_prune_job(pool: PgPool, config: Config, shutdown: Shutdown) {
    let interval = Duration::from_secs(config.prune_poll_seconds);
    let batch = || async { Ok(prune_batch(&pool, &config).await? == u64::from(config.prune_batch_max)) };
    batches::repeat(interval, shutdown, "old changes of messages cannot be deleted", batch).await;
}

/// One batch. Returns how many changes it forgot.
///
/// # Errors
/// When Postgres does not answer; then it forgot none.
pub(super) async fn prune_batch(pool: &PgPool, config: &Config) -> Result<u64, sqlx::Error> {
    let forgotten =
        history::forget(pool, config.changes_kept_max.into(), config.prune_batch_max.into()).await?;
    metrics::counter!("fanlight_message_changes_deleted_total").increment(forgotten);
    Ok(forgotten)
}
