//! Deletes what was written in conversations that were deleted, some at a time: nobody waits for it, and no statement
//! holds many locks.

use std::time::Duration;

use crate::db::PgPool;
use crate::features::batches;
use crate::features::channels::Config;
use crate::features::channels::repository;
use crate::shutdown::Shutdown;

/// Runs until the process stops. Several nodes may run it: each conversation is taken by one.
pub async fn run_purge_job(pool: PgPool, config: Config, shutdown: Shutdown) {
    let pause = Duration::from_secs(config.purge_poll_seconds);
    let batch = || purge_batch(&pool, config.purge_batch_max);
    batches::repeat(pause, shutdown, "deleted conversations cannot be purged", batch).await;
}

/// One batch. Returns whether there was anything.
///
/// # Errors
/// When Postgres does not answer; what was deleted before stays deleted.
pub(super) async fn purge_batch(pool: &PgPool, batch_max: u32) -> Result<bool, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let found = repository::purge(&mut tx, batch_max).await?;
    tx.commit().await?;
    Ok(found)
}
