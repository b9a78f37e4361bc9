//! Looks after every event that is not settled in time: the reason why a crash loses none.
//!
//! Each node sweeps; rows are claimed, so no two do the same. What a due event needs is decided by
//! [`next_step`] alone.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;

use crate::db::PgPool;
use crate::delivery::config::{Config, SettledBy};
use crate::delivery::event::{Committed, frame};
use crate::delivery::fallback::{self, Fallback};
use crate::delivery::outbox::{self, Claimed, Outcome};
use crate::delivery::route::{Route, Sighting};
use crate::ports::broker::Envelope;
use crate::shutdown::Shutdown;

const PRUNE_INTERVAL: Duration = Duration::from_mins(1);
const PRUNE_BATCH_MAX: i64 = 5_000;

/// What a due event needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Expire,
    /// It was not confirmed yet, perhaps because a node died: route it again, then wait for the deadline.
    RouteAgain,
    /// The deadline has passed.
    Push,
    /// Nothing more can be done before its life ends or a device connects.
    Wait,
}

fn next_step(claimed: &Claimed, config: &Config) -> Step {
    let deadline = TimeDelta::milliseconds(i64::try_from(config.ack_deadline_ms).unwrap_or(i64::MAX));
    if claimed.now >= claimed.expires_at {
        Step::Expire
    } else if claimed.now - claimed.created_at < deadline {
        Step::RouteAgain
    } else if claimed.push.is_some() || config.settled_by == SettledBy::EveryDevice {
        Step::Push
    } else {
        Step::Wait
    }
}

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
        while shutdown.unless_stopped(tokio::time::sleep(pause)).await.is_some() {
            // A full batch means that more are due already.
            while !shutdown.is_stopping() {
                match self.sweep().await {
                    Ok(claimed) if claimed >= self.config.sweep_batch_max as usize => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(%error, "cannot sweep");
                        metrics::counter!("fanlight_sweep_failures_total").increment(1);
                        break;
                    }
                }
            }
        }
    }

    /// Deletes what is older than the retention, a batch at a time, until the process stops.
    pub async fn prune(pool: PgPool, retention_hours: u64, shutdown: Shutdown) {
        let retention = Duration::from_secs(retention_hours * 3600);
        while shutdown.unless_stopped(tokio::time::sleep(PRUNE_INTERVAL)).await.is_some() {
            match outbox::prune(&pool, retention, PRUNE_BATCH_MAX).await {
                Ok(deleted) => metrics::counter!("fanlight_events_pruned_total").increment(deleted),
                Err(error) => tracing::warn!(%error, "cannot prune"),
            }
        }
    }

    /// Takes on one batch of due events. Returns how many there were.
    pub async fn sweep(&self) -> Result<usize, sqlx::Error> {
        let limit = i64::from(self.config.sweep_batch_max);
        let claimed = outbox::claim_due(&self.pool, limit, self.config.claim_lease()).await?;
        let count = claimed.len();
        metrics::counter!("fanlight_events_swept_total").increment(count as u64);
        let mut route_again = Vec::new();
        for event in claimed {
            match next_step(&event, &self.config) {
                Step::Expire => fallback::settle(&self.pool, &event, Outcome::Expired).await?,
                Step::RouteAgain => route_again.push(event),
                Step::Push => self.fallback.push(event).await,
                Step::Wait => outbox::reschedule(&self.pool, &event, event.expires_at).await?,
            }
        }
        if !route_again.is_empty() {
            self.route_again(route_again).await?;
        }
        Ok(count)
    }

    async fn route_again(&self, mut events: Vec<Claimed>) -> Result<(), sqlx::Error> {
        // A claim returns its rows in no order; each user's must go out in theirs.
        events.sort_by_key(|event| (event.user, event.seq));
        let batch: Vec<Committed> = events.iter().map(committed).collect();
        let sightings = self.route.send(&batch).await;
        for (event, sighting) in events.into_iter().zip(sightings) {
            if sighting == Sighting::Absent && event.push.is_some() {
                self.fallback.push(event).await;
            } else {
                let deadline = event.created_at + self.config.ack_deadline();
                outbox::reschedule(&self.pool, &event, deadline).await?;
            }
        }
        Ok(())
    }
}

fn committed(claimed: &Claimed) -> Committed {
    let frame: Bytes = frame(claimed.id, claimed.seq, &claimed.body);
    Committed {
        kind: Cow::Owned(claimed.kind.clone()),
        pushable: claimed.push.is_some(),
        envelope: Envelope { event: claimed.id, user: claimed.user, seq: claimed.seq, frame },
    }
}
