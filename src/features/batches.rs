//! Background jobs that do their work some at a time.

use std::time::Duration;

use crate::db::within_deadline;
use crate::shutdown::Shutdown;

/// Does one batch after the other, and pauses where there is no more to do, until the process stops. `batch` says whether
/// there may be more; what goes wrong is said with `complaint`, and tried again after the pause.
pub async fn repeat<F>(pause: Duration, shutdown: Shutdown, complaint: &'static str, batch: impl Fn() -> F)
where
    F: Future<Output = Result<bool, sqlx::Error>>,
{
    while !shutdown.is_stopping() {
        match within_deadline(batch()).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "{complaint}; will try again"),
        }
        shutdown.unless_stopped(tokio::time::sleep(pause)).await;
    }
}
