//! Looks after every event that is not settled in time: the reason why a crash loses none.
//!
//! Each node sweeps; rows are claimed, so no two do the same. What an event needs depends on its age alone:
//! before its deadline it is routed again, perhaps because a node died; after it, it is pushed; at the end
//! of its life it is settled. The ages are looked after side by side, so that a push service that hangs
//! holds up pushes, and nothing else.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use crate::db::{PgPool, within_deadline};
use crate::delivery::claims::{self, Claimed};
use crate::delivery::config::{Config, SettledBy};
use crate::delivery::event::{Committed, stored_frame};
use crate::delivery::fallback::{self, Fallback};
use crate::delivery::outbox;
use crate::delivery::route::{Route, Sighting, Turn};
use crate::failpoint;
use crate::ports::broker::Envelope;
use crate::seeded_bug;
use crate::shutdown::Shutdown;
use crate::telemetry::traces;

const PRUNE_INTERVAL: Duration = Duration::from_mins(1);
const PRUNE_BATCH_MAX: i64 = 5_000;

pub struct Sweeper {
    pub pool: PgPool,
    pub config: Config,
    pub route: Route,
    pub fallback: Fallback,
}

impl Sweeper {
    /// Sweeps until the process stops.
    pub async fn run(self, shutdown: Shutdown) {
        let pause = Duration::from_millis(self.config.sweep_interval_ms);
        tokio::join!(
            repeat(pause, &shutdown, || self.route_again()),
            repeat(pause, &shutdown, || self.expire()),
            repeat(pause, &shutdown, || self.push()),
        );
    }

    /// Deletes what is older than the retention, a batch at a time, until the process stops.
    pub async fn prune(pool: PgPool, config: Config, shutdown: Shutdown) {
        repeat(PRUNE_INTERVAL, &shutdown, || prune_some(&pool, &config)).await;
    }

    /// Routes events again that nobody confirmed at once.
    pub async fn route_again(&self) -> Result<Found, sqlx::Error> {
        // An event is routed again once: by a node that can. Who is connected here is found by the comparison.
        if !self.route.health.is_well() {
            return Ok(Found::Few);
        }
        let limit = self.config.sweep_batch_max;
        // Where every device counts, the deadline is when the confirmations are looked at.
        let unpushable_wait = self.config.settled_by == SettledBy::AnyDevice;
        let deadline = self.config.ack_deadline();
        let claim = claims::claim_unconfirmed(&self.pool, limit.into(), deadline, unpushable_wait);
        let mut events = within_deadline(claim).await?;
        let found = Found::new(events.len(), limit as usize);
        metrics::counter!("fanlight_events_swept_total", "step" => "route").increment(events.len() as u64);
        seeded_bug::skip_older(&mut events, |event| event.id.0);
        // A claim returns its rows in no order; each user's must go out in theirs.
        events.sort_by_key(|event| (event.user, event.seq));
        let batch: Vec<Committed> = events.iter().map(committed).collect();
        if batch.is_empty() {
            return Ok(found);
        }
        failpoint!("on_sweep");
        let sightings = self.route.send(&batch, Turn::Again).await;
        let absent = events.into_iter().zip(sightings).filter_map(|(event, sighting)| {
            (sighting == Sighting::Absent && event.push.is_some()).then_some(event)
        });
        self.fallback.push_if_free(absent.collect()).await;
        Ok(found)
    }

    /// Pushes events whose deadline has passed.
    pub async fn push(&self) -> Result<Found, sqlx::Error> {
        // No more than can be started soon: a claim must not end while it waits for its turn.
        let limit = self.fallback.free().min(self.config.sweep_batch_max as usize);
        let (deadline, lease) = (self.config.ack_deadline(), self.config.claim_lease());
        let claim =
            claims::claim_overdue(&self.pool, i64::try_from(limit).unwrap_or(i64::MAX), deadline, lease);
        let mut events = within_deadline(claim).await?;
        let found = Found::new(events.len(), limit);
        metrics::counter!("fanlight_events_swept_total", "step" => "push").increment(events.len() as u64);
        seeded_bug::skip_older(&mut events, |event| event.id.0);
        self.fallback.push(events).await;
        Ok(found)
    }

    /// Settles events whose life is over.
    pub async fn expire(&self) -> Result<Found, sqlx::Error> {
        let limit = self.config.sweep_batch_max;
        let began = traces::now();
        let settled = within_deadline(claims::expire(&self.pool, limit.into())).await?;
        if !settled.is_empty() {
            failpoint!("after_expire");
        }
        for event in &settled {
            event.tell(began);
        }
        Ok(Found::new(settled.len(), limit as usize))
    }
}

/// What one look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Few,
    /// As much as one look takes on: there may be more.
    Full,
}

impl Found {
    fn new(count: usize, limit: usize) -> Self {
        if count < limit { Self::Few } else { Self::Full }
    }
}

async fn prune_some(pool: &PgPool, config: &Config) -> Result<Found, sqlx::Error> {
    let kept_max = config.kept_events_per_user_max.into();
    let deleted = within_deadline(outbox::prune(pool, config.retention(), PRUNE_BATCH_MAX)).await?
        + within_deadline(outbox::prune_crowded(pool, kept_max, PRUNE_BATCH_MAX)).await?;
    metrics::counter!("fanlight_events_pruned_total").increment(deleted);
    within_deadline(fallback::prune(pool, PRUNE_BATCH_MAX)).await?;
    Ok(if deleted < PRUNE_BATCH_MAX.unsigned_abs() { Found::Few } else { Found::Full })
}

/// Looks again and again until the process stops; at once where there may be more.
async fn repeat<F>(pause: Duration, shutdown: &Shutdown, look: impl Fn() -> F)
where
    F: Future<Output = Result<Found, sqlx::Error>>,
{
    while shutdown.unless_stopped(tokio::time::sleep(pause)).await.is_some() {
        while !shutdown.is_stopping() {
            match look().await {
                Ok(Found::Full) => {}
                Ok(Found::Few) => break,
                Err(error) => {
                    tracing::warn!(%error, "cannot sweep");
                    metrics::counter!("fanlight_sweep_failures_total").increment(1);
                    break;
                }
            }
        }
    }
}

fn committed(claimed: &Claimed) -> Committed {
    let frame: Bytes = stored_frame(claimed.id, claimed.seq, &claimed.body);
    Committed {
        kind: Cow::Owned(claimed.kind.clone()),
        pushable: claimed.push.is_some(),
        trace: claimed.trace(),
        envelope: Envelope { event: claimed.id, user: claimed.user, seq: claimed.seq, trace: None, frame },
    }
}
