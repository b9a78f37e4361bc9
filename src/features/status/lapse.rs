//! Ends timed statuses when their time is over.
//!
//! The timers are rows, so they survive restarts. Every node runs this job: the row lock decides which of
//! them ends a status, and the others pass it over.

use std::sync::Arc;
use std::time::Duration;

use crate::db::{PgConnection, within_deadline};
use crate::delivery::event::{Committed, NewEvent};
use crate::delivery::outbox;
use crate::domain::clock::Timestamp;
use crate::features::status::events::Change;
use crate::features::status::model::{Light, Status};
use crate::features::status::repository::{self, Lapsed};
use crate::features::status::service::Service;
use crate::shutdown::Shutdown;

impl Service {
    /// Ends statuses that are due, at most one batch of them, and tells both sides. Returns how many.
    pub async fn lapse(&self) -> Result<usize, sqlx::Error> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let (count, committed) = lapse(&mut tx, now, self.config.lapse_batch_max).await?;
        tx.commit().await?;
        self.dispatcher.dispatch(committed).await;
        if count > 0 {
            metrics::counter!("fanlight_status_changes_total", "cause" => "lapse").increment(count as u64);
        }
        Ok(count)
    }

    /// Ends one batch of what is due, then says how long the job may sleep: not at all after a full batch.
    async fn lapse_some(&self) -> Result<Duration, sqlx::Error> {
        let batch_max = usize::try_from(self.config.lapse_batch_max).unwrap_or(usize::MAX);
        if self.lapse().await? >= batch_max {
            return Ok(Duration::ZERO);
        }
        let next = repository::next_lapse(&self.pool, self.clock.now()).await?;
        Ok(sleep_until(next, self.poll()))
    }

    fn poll(&self) -> Duration {
        Duration::from_millis(self.config.lapse_poll_ms)
    }
}

/// Until the next status is due, but no longer than `poll`: another node may have set a timer. One that is
/// overdue is locked by somebody; asking again at once would only spin.
fn sleep_until(next: Option<Duration>, poll: Duration) -> Duration {
    const LOCKED_RETRY: Duration = Duration::from_millis(50);
    next.map_or(poll, |next| next.max(LOCKED_RETRY).min(poll))
}

async fn lapse(
    conn: &mut PgConnection,
    now: Timestamp,
    batch_max: u32,
) -> Result<(usize, Vec<Committed>), sqlx::Error> {
    let users = repository::lock_due(conn, now, batch_max).await?;
    if users.is_empty() {
        return Ok((0, Vec::new()));
    }
    let lapsed = repository::lapse(conn, &users, now).await?;
    let mut events = Vec::with_capacity(lapsed.len() * 2);
    for row in &lapsed {
        events.extend(told(row, now)?);
    }
    Ok((lapsed.len(), outbox::append(conn, events).await?))
}

fn told(row: &Lapsed, at: Timestamp) -> Result<impl Iterator<Item = NewEvent>, sqlx::Error> {
    let light = Light { status: Status::from_column(&row.status)?, timer: None };
    let change = Change { actor: row.user, name: row.name.as_deref(), light, at };
    let for_partner = row.partner.map(|partner| change.for_partner(partner));
    Ok(std::iter::once(change.for_actor()).chain(for_partner))
}

/// Runs until the process stops. Woken by a new timer, and by the clock.
pub async fn run_lapse_job(service: Arc<Service>, shutdown: Shutdown) {
    while !shutdown.is_stopping() {
        let sleep = within_deadline(service.lapse_some()).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "timed statuses could not be ended; will try again");
            service.poll()
        });
        // Cancel-safe: a notification that is not consumed stays stored; the rest holds no state.
        tokio::select! {
            () = service.timer_set.notified() => {}
            () = tokio::time::sleep(sleep) => {}
            () = shutdown.stopped() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_sleeps_until_the_next_timer_but_never_longer_than_the_poll() {
        let ms = Duration::from_millis;
        assert_eq!(sleep_until(None, ms(1000)), ms(1000));
        assert_eq!(sleep_until(Some(ms(300)), ms(1000)), ms(300));
        assert_eq!(sleep_until(Some(ms(60_000)), ms(1000)), ms(1000));
        assert_eq!(sleep_until(Some(Duration::ZERO), ms(1000)), ms(50));
    }
}
