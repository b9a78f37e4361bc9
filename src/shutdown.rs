//! Every long-lived task, by name, and how all of them end.
//!
//! The one place where tasks are spawned: each is tracked, sees the same stop signal, and is awaited
//! before the process exits. A task that panics is logged with its name and counted.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Clones share one stop signal and one set of tasks.
#[derive(Clone, Default)]
pub struct Shutdown {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task that is awaited at stop. It should end soon after [`Shutdown::stopped`].
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
        let handle = tokio::spawn(task);
        #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
        tokio::spawn(self.tasks.track_future(async move {
            if let Err(error) = handle.await
                && error.is_panic()
            {
                metrics::counter!("fanlight_task_panics_total", "task" => name).increment(1);
                tracing::error!(task.name = name, "a task panicked");
            }
        }));
    }

    /// Starts a short-lived task of which there may be many (a connection): tracked, without a watcher.
    pub fn spawn_light<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
        tokio::spawn(self.tasks.track_future(task));
    }

    /// Asks every task to end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Resolves when the process should end.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Runs `future` to its end, or returns `None` when the process should end first.
    pub async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.stop.run_until_cancelled(future).await
    }

    /// Waits for all tasks, at most `limit`. Returns whether all of them ended.
    pub async fn finished(&self, limit: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(limit, self.tasks.wait()).await.is_ok()
    }
}
