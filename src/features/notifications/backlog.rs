//! How much is still to be noted and decided: for whoever watches the cluster.

use std::time::Duration;

use crate::db::{PgPool, within_deadline};
use crate::domain::clock::{SharedClock, Timestamp};
use crate::shutdown::Shutdown;
use crate::telemetry::as_gauge;

const INTERVAL: Duration = Duration::from_secs(10);
/// Bounds what the question costs, however much there is.
const COUNTED_MAX: i64 = 10_000;

/// What is not done yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backlog {
    /// Messages of which nobody knows yet whom they concern, up to a bound.
    pub notices: i64,
    /// Of the oldest.
    pub age_seconds: f64,
    /// Notifications that are to be decided, or wait, up to a bound.
    pub pending: i64,
    /// How long the one that is due longest has been due.
    pub overdue_seconds: f64,
}

/// Tells of it until the process stops. While Postgres does not answer, the last answer stands.
pub async fn watch(pool: PgPool, clock: SharedClock, shutdown: Shutdown) {
    loop {
        match within_deadline(measure(&pool, clock.now())).await {
            Ok(backlog) => backlog.publish(),
            Err(error) => tracing::debug!(%error, "cannot see which notifications wait"),
        }
        if shutdown.unless_stopped(tokio::time::sleep(INTERVAL)).await.is_none() {
            return;
        }
    }
}

impl Backlog {
    fn publish(self) {
        let gauge = |count: i64| as_gauge(usize::try_from(count).unwrap_or(0));
        metrics::gauge!("fanlight_message_notices").set(gauge(self.notices));
        metrics::gauge!("fanlight_message_notices_oldest_age_seconds").set(self.age_seconds);
        metrics::gauge!("fanlight_notifications_pending").set(gauge(self.pending));
        metrics::gauge!("fanlight_notifications_overdue_seconds").set(self.overdue_seconds);
    }
}

/// # Errors
/// When Postgres does not answer.
pub async fn measure(pool: &PgPool, now: Timestamp) -> Result<Backlog, sqlx::Error> {
    sqlx::query_as!(
        Backlog,
        r#"SELECT (SELECT count(*) FROM (SELECT FROM message_notices LIMIT $2) AS found) AS "notices!",
                  coalesce(greatest(extract(epoch FROM $1 - (
                      SELECT noticed_at FROM message_notices ORDER BY id LIMIT 1)), 0), 0)::float8 AS "age_seconds!",
                  (SELECT count(*) FROM (SELECT FROM pending_notifications LIMIT $2) AS found) AS "pending!",
                  coalesce(greatest(extract(epoch FROM $1 - (
                      SELECT min(due_at) FROM pending_notifications)), 0), 0)::float8 AS "overdue_seconds!""#,
        now,
        COUNTED_MAX,
    )
    .fetch_one(pool)
    .await
}
