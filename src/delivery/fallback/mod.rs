//! Pushes the events that no device confirmed in time.
//!
//! An event is claimed, checked once more, and handed to the push service for each of the user's devices
//! ([`worker`], [`sending`]), the newest for all that it replaces there ([`lanes`]). The schedule of attempts is in the
//! database ([`attempts`]), so a restart forgets none and repeats none. An event that no device can be woken for
//! stays, and waits for the next connect.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::db::{PgPool, within_deadline};
use crate::delivery::claims::{self, Claimed};
use crate::delivery::config::Config;
use crate::delivery::device_tokens::DeviceTokens;
use crate::delivery::fallback::holds::Holds;
use crate::delivery::fallback::pace::{Pace, Permit};
use crate::delivery::fallback::worker::Worker;
use crate::domain::ids::EventId;
use crate::ports::push::PushGateway;
use crate::shutdown::Shutdown;

mod attempts;
mod holds;
mod lanes;
mod pace;
mod sending;
mod worker;

pub use lanes::prune;

/// Cheap to clone; all clones share one queue and one bound on parallel pushes.
#[derive(Clone)]
pub struct Fallback {
    worker: Arc<Worker>,
    pace: Pace,
    shutdown: Shutdown,
    fresh: mpsc::Sender<EventId>,
}

impl Fallback {
    /// Starts the worker that pushes fresh events.
    #[must_use]
    pub fn start(
        pool: PgPool,
        config: &Config,
        tokens: Arc<dyn DeviceTokens>,
        gateway: Arc<dyn PushGateway>,
        shutdown: &Shutdown,
    ) -> Self {
        let (fresh, queue) = mpsc::channel(config.push.queue_events);
        let pace = Pace::new(config.push.concurrency);
        let holds = Holds::default();
        let worker = Worker { pool, config: config.clone(), tokens, gateway, holds, pace: pace.clone() };
        let this = Self { worker: Arc::new(worker), pace, shutdown: shutdown.clone(), fresh };
        shutdown.spawn("delivery.fallback", push_fresh(this.clone(), queue));
        this
    }

    /// Pushes an event that nobody can receive, soon. If the queue is full the sweeper does it.
    pub fn push_now(&self, event: EventId) {
        if self.fresh.try_send(event).is_err() {
            metrics::counter!("fanlight_push_queue_overflows_total").increment(1);
        }
    }

    /// Pushes events that the caller has claimed. Waits while too many pushes are on their way.
    pub async fn push(&self, claimed: Vec<Claimed>) {
        for event in self.reachable(claimed).await {
            let permit = self.pace.permit().await;
            self.spawn(permit, event);
        }
    }

    /// Pushes events that the caller has claimed, as long as not too many pushes are on their way: the others are
    /// left until they fall due.
    pub async fn push_if_free(&self, claimed: Vec<Claimed>) {
        for event in self.reachable(claimed).await {
            let Some(permit) = self.pace.try_permit() else { return };
            self.spawn(permit, event);
        }
    }

    /// Those that a device can be woken for. If that cannot be found out, none: they fall due again.
    async fn reachable(&self, claimed: Vec<Claimed>) -> Vec<Claimed> {
        if claimed.is_empty() {
            return claimed;
        }
        self.worker.reachable(claimed).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "pushes are left to the sweeper");
            Vec::new()
        })
    }

    /// How many events can be pushed at this moment.
    #[must_use]
    pub fn free(&self) -> usize {
        self.pace.free()
    }

    /// Starts a push, which holds the permit until its end. If it fails, the event falls due again.
    fn spawn(&self, permit: Permit, event: Claimed) {
        let worker = Arc::clone(&self.worker);
        self.shutdown.spawn_light(async move {
            if let Err(error) = worker.push(&event).await {
                tracing::warn!(%error, "a push is left to the sweeper");
            }
            drop(permit);
        });
    }
}

/// Takes on what comes, as much at once as can be pushed: one question to Postgres serves them all.
async fn push_fresh(fallback: Fallback, mut queue: mpsc::Receiver<EventId>) {
    let mut events = Vec::new();
    // Cancel-safe: `recv_many` takes nothing unless it returns. What is left in the queue at stop falls due.
    while let Some(1..) =
        fallback.shutdown.unless_stopped(queue.recv_many(&mut events, fallback.free())).await
    {
        let worker = &fallback.worker;
        let claim = claims::claim_fresh(&worker.pool, &events, worker.config.claim_lease());
        match within_deadline(claim).await {
            Ok(claimed) => fallback.push(claimed).await,
            Err(error) => tracing::warn!(%error, "pushes are left to the sweeper"),
        }
        events.clear();
    }
}
