//! Deletes files that are over: never attached, given up, left by a node that died, or gone with their message.
//!
//! Marked first, so that nobody attaches or reads them any more; then the blob goes; then the row that leads to it.
//! Whatever ends in between, the next sweep does again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use uuid::Uuid;

use crate::db::within_deadline;
use crate::features::uploads::error::UploadsError;
use crate::features::uploads::repository;
use crate::features::uploads::service::Service;
use crate::shutdown::Shutdown;

/// What was marked so long ago is nobody's: its node died, or the store did not answer.
pub const ABANDONED_AFTER: Duration = Duration::from_mins(5);
/// Blobs that are removed at once.
const CONCURRENCY: usize = 8;

/// Runs until the process stops. Several nodes may run it: each file is taken by one.
pub async fn run_sweep_job(service: Arc<Service>, shutdown: Shutdown) {
    let pause = Duration::from_secs(service.config.sweep_poll_seconds);
    while !shutdown.is_stopping() {
        match service.sweep_batch().await {
            Ok(true) => continue,
            Ok(false) | Err(UploadsError::Disabled) => {}
            Err(error) => tracing::warn!(%error, "files that are over cannot be deleted; will try again"),
        }
        shutdown.unless_stopped(tokio::time::sleep(pause)).await;
    }
}

impl Service {
    /// One batch. Returns whether there may be more.
    ///
    /// # Errors
    /// When Postgres does not answer; what is marked stays so.
    pub(super) async fn sweep_batch(&self) -> Result<bool, UploadsError> {
        let doomed = self.doom().await?;
        let removed = self.remove(&doomed).await?;
        let swept = within_deadline(repository::forget(&self.pool, &removed)).await?;
        metrics::counter!("fanlight_uploads_swept_total").increment(swept);
        Ok(doomed.len() == self.config.sweep_batch_max as usize)
    }

    pub(super) async fn doom(&self) -> Result<Vec<Uuid>, UploadsError> {
        self.blobs()?;
        let now = self.clock.now();
        let doomed =
            repository::doom(&self.pool, now, now - ABANDONED_AFTER, self.config.sweep_batch_max.into());
        Ok(within_deadline(doomed).await?)
    }

    /// Those of them whose blobs are gone now.
    pub(super) async fn remove(&self, doomed: &[Uuid]) -> Result<Vec<Uuid>, UploadsError> {
        let blobs = self.blobs()?;
        let removing = stream::iter(doomed.iter().copied()).map(|id| async move {
            let removed = blobs.remove(id).await;
            removed
                .inspect_err(|error| tracing::warn!(%error, upload.id = %id, "a file stays for now"))
                .ok()
                .map(|()| id)
        });
        Ok(removing.buffer_unordered(CONCURRENCY).filter_map(async |removed| removed).collect().await)
    }
}
