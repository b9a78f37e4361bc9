//! Retires tokens that no app has refreshed for a long time: the app is gone, and FCM drops such tokens too.

use std::sync::Arc;
use std::time::Duration;

use crate::features::batches;
use crate::features::devices::model::Retirement;
use crate::features::devices::repository;
use crate::features::devices::service::{Service, count_retired, seen_since};
use crate::shutdown::Shutdown;

impl Service {
    /// Retires stale tokens, at most one batch of them. Returns how many.
    pub async fn retire_stale(&self) -> Result<u64, sqlx::Error> {
        let now = self.clock.now();
        let seen_before = seen_since(now, self.config.stale_after_days);
        let retired =
            repository::retire_stale(&self.pool, seen_before, self.config.stale_batch_max, now).await?;
        count_retired(Retirement::Stale, retired);
        Ok(retired)
    }
}

/// Runs until the process stops. Several nodes may run it: each row is retired once.
pub async fn run_stale_job(service: Arc<Service>, shutdown: Shutdown) {
    let poll = Duration::from_secs(service.config.stale_poll_seconds);
    let batch = || async { Ok(service.retire_stale().await? >= u64::from(service.config.stale_batch_max)) };
    batches::repeat(poll, shutdown, "stale device tokens could not be retired", batch).await;
}
