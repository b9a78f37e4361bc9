//! How many events are not settled, and whether anybody looks after them: for whoever watches the cluster.
//!
//! Every node asks Postgres the same, so that the answer does not depend on one of them.

use std::time::Duration;

use crate::db::{PgPool, within_deadline};
use crate::shutdown::Shutdown;
use crate::telemetry::as_gauge;

const INTERVAL: Duration = Duration::from_secs(10);
/// Bounds what the question costs, however many events wait: those that are due first are counted.
const COUNTED_MAX: i64 = 10_000;

/// What is not settled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backlog {
    /// Up to a bound.
    pub events: i64,
    /// Of the oldest.
    pub age_seconds: f64,
    /// How long the one that is due longest has been due.
    pub overdue_seconds: f64,
}

/// Tells of it until the process stops. While Postgres does not answer, the last answer stands.
pub async fn watch(pool: PgPool, shutdown: Shutdown) {
    loop {
        match within_deadline(measure(&pool)).await {
            Ok(backlog) => backlog.publish(),
            Err(error) => tracing::debug!(%error, "cannot see what is not settled"),
        }
        if shutdown.unless_stopped(tokio::time::sleep(INTERVAL)).await.is_none() {
            return;
        }
    }
}

impl Backlog {
    fn publish(self) {
        let events = usize::try_from(self.events).unwrap_or(0);
        metrics::gauge!("fanlight_outbox_pending_events").set(as_gauge(events));
        metrics::gauge!("fanlight_outbox_oldest_age_seconds").set(self.age_seconds);
        metrics::gauge!("fanlight_outbox_overdue_seconds").set(self.overdue_seconds);
    }
}

/// # Errors
/// When Postgres does not answer.
pub async fn measure(pool: &PgPool) -> Result<Backlog, sqlx::Error> {
    sqlx::query_as!(
        Backlog,
        r#"
        SELECT count(*) AS "events!",
               coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS "age_seconds!",
               coalesce(greatest(extract(epoch FROM clock_timestamp() - min(due_at)), 0), 0)::float8
                   AS "overdue_seconds!"
        FROM (SELECT created_at, due_at FROM events WHERE outcome IS NULL AND settled_at IS NULL
              ORDER BY due_at LIMIT $1) AS pending
        "#,
        COUNTED_MAX,
    )
    .fetch_one(pool)
    .await
}
