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

    /// Pushes an event that the caller has claimed. Waits while too many pushes are on their way.
    pub async fn push(&self, claimed: Claimed) {
        let permit = self.pace.permit().await;
        self.spawn(permit, async move |worker| worker.push(&claimed).await);
    }

    /// Pushes an event that the caller has claimed, unless too many pushes are on their way: then it is left
    /// until it falls due.
    pub fn push_if_free(&self, claimed: Claimed) {
        if let Some(permit) = self.pace.try_permit() {
            self.spawn(permit, async move |worker| worker.push(&claimed).await);
        }
    }

    /// How many events can be pushed at this moment.
    #[must_use]
    pub fn free(&self) -> usize {
        self.pace.free()
    }

    /// Starts `work`, which holds the permit until its end. If it fails, the event falls due again.
    fn spawn<F, W>(&self, permit: Permit, work: W)
    where
        W: FnOnce(Arc<Worker>) -> F + Send + 'static,
        F: Future<Output = Result<(), sqlx::Error>> + Send + 'static,
    {
        let worker = Arc::clone(&self.worker);
        self.shutdown.spawn_light(async move {
            if let Err(error) = work(worker).await {
                tracing::warn!(%error, "a push is left to the sweeper");
            }
            drop(permit);
        });
    }
}

async fn push_fresh(fallback: Fallback, mut queue: mpsc::Receiver<EventId>) {
    // Cancel-safe: `recv` takes nothing unless it returns. What is left in the queue at stop falls due.
    while let Some(Some(event)) = fallback.shutdown.unless_stopped(queue.recv()).await {
        let permit = fallback.pace.permit().await;
        fallback.spawn(permit, async move |worker| {
            let lease = worker.config.claim_lease();
            match within_deadline(claims::claim_fresh(&worker.pool, event, lease)).await? {
                Some(claimed) => worker.push(&claimed).await,
                None => Ok(()),
            }
        });
    }
}
