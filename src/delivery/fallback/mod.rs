//! Pushes the events that no device confirmed in time.
//!
//! An event is claimed, checked once more, and handed to the push service for each of the user's devices.
//! The schedule of attempts is in the database, so a restart forgets none and repeats none. An event that
//! no device can be woken for stays, and waits for the next connect.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use uuid::Uuid;

use crate::db::{PgPool, within_deadline};
use crate::delivery::config::{Config, SettledBy};
use crate::delivery::device_tokens::{DeviceToken, DeviceTokens};
use crate::delivery::event::PushContent;
use crate::delivery::fallback::attempts::{Due, Summary, Verdict};
use crate::delivery::fallback::holds::{Holds, backoff};
use crate::delivery::outbox::{self, Claimed, Outcome};
use crate::delivery::{cursors, texts};
use crate::domain::ids::EventId;
use crate::failpoint;
use crate::ports::push::{Accepted, Push, PushError, PushGateway};
use crate::shutdown::Shutdown;

mod attempts;
mod holds;

/// Cheap to clone; all clones share one queue and one bound on parallel pushes.
#[derive(Clone)]
pub struct Fallback {
    shared: Arc<Shared>,
    fresh: mpsc::Sender<EventId>,
}

struct Shared {
    pool: PgPool,
    config: Config,
    tokens: Arc<dyn DeviceTokens>,
    gateway: Arc<dyn PushGateway>,
    holds: Holds,
    permits: Arc<Semaphore>,
    shutdown: Shutdown,
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
        let shared = Arc::new(Shared {
            pool,
            config: config.clone(),
            tokens,
            gateway,
            holds: Holds::default(),
            permits: Arc::new(Semaphore::new(config.push.concurrency)),
            shutdown: shutdown.clone(),
        });
        shutdown.spawn("delivery.fallback", push_fresh(Arc::clone(&shared), queue));
        Self { shared, fresh }
    }

    /// Pushes an event that nobody can receive, soon. If the queue is full the sweeper does it.
    pub fn push_now(&self, event: EventId) {
        if self.fresh.try_send(event).is_err() {
            metrics::counter!("fanlight_push_queue_overflows_total").increment(1);
        }
    }

    /// Pushes an event that the caller has claimed. Waits while too many pushes are on their way.
    pub async fn push(&self, claimed: Claimed) {
        let permit = self.shared.permit().await;
        self.shared.spawn(permit, async move |shared| shared.push(&claimed).await);
    }

    /// Pushes an event that the caller has claimed, unless too many pushes are on their way: then it is left
    /// until it falls due.
    pub fn push_if_free(&self, claimed: Claimed) {
        if let Ok(permit) = Arc::clone(&self.shared.permits).try_acquire_owned() {
            self.shared.spawn(permit, async move |shared| shared.push(&claimed).await);
        }
    }
}

async fn push_fresh(shared: Arc<Shared>, mut queue: mpsc::Receiver<EventId>) {
    // Cancel-safe: `recv` takes nothing unless it returns. What is left in the queue at stop falls due.
    while let Some(Some(event)) = shared.shutdown.unless_stopped(queue.recv()).await {
        let permit = shared.permit().await;
        shared.spawn(permit, async move |shared| {
            let lease = shared.config.claim_lease();
            match within_deadline(outbox::claim_fresh(&shared.pool, event, lease)).await? {
                Some(claimed) => shared.push(&claimed).await,
                None => Ok(()),
            }
        });
    }
}

impl Shared {
    async fn permit(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Starts `work`, which holds the permit until its end. If it fails, the event falls due again.
    fn spawn<F, W>(self: &Arc<Self>, permit: OwnedSemaphorePermit, work: W)
    where
        W: FnOnce(Arc<Self>) -> F + Send + 'static,
        F: Future<Output = Result<(), sqlx::Error>> + Send + 'static,
    {
        let shared = Arc::clone(self);
        self.shutdown.spawn_light(async move {
            if let Err(error) = work(shared).await {
                tracing::warn!(%error, "a push is left to the sweeper");
            }
            drop(permit);
        });
    }

    async fn push(&self, claimed: &Claimed) -> Result<(), sqlx::Error> {
        let Some(content) = claimed.content() else { return self.nobody_to_push(claimed).await };
        let targets = within_deadline(self.targets(claimed)).await?;
        if targets.is_empty() {
            return self.nobody_to_push(claimed).await;
        }
        let ids: Vec<Uuid> = targets.iter().map(|token| token.id.0).collect();
        let lease = self.config.claim_lease();
        let due = within_deadline(attempts::open(&self.pool, claimed, &ids, lease)).await?;
        let sends = due.iter().filter_map(|due| {
            let token = targets.iter().find(|token| token.id == due.token)?;
            Some(self.attempt(claimed, &content, token, *due))
        });
        for result in join_all(sends).await {
            result?;
        }
        let summary = within_deadline(attempts::summary(&self.pool, claimed.id, &ids)).await?;
        self.conclude(claimed, summary).await
    }

    /// The devices that should be woken for this event.
    async fn targets(&self, claimed: &Claimed) -> Result<Vec<DeviceToken>, sqlx::Error> {
        let mut tokens = self.tokens.active(claimed.user).await?;
        if self.config.settled_by == SettledBy::EveryDevice {
            let cursors = cursors::of_user(&self.pool, claimed.user).await?;
            tokens.retain(|token| cursors.get(&token.device_id).is_none_or(|seq| *seq < claimed.seq));
        }
        Ok(tokens)
    }

    /// No device to wake: either all have the event already, or it waits for a connect.
    async fn nobody_to_push(&self, claimed: &Claimed) -> Result<(), sqlx::Error> {
        if self.config.settled_by == SettledBy::EveryDevice {
            let cursors = within_deadline(cursors::of_user(&self.pool, claimed.user)).await?;
            if cursors.values().any(|seq| *seq >= claimed.seq) {
                return settle(&self.pool, claimed, Outcome::Delivered).await;
            }
        }
        within_deadline(outbox::reschedule(&self.pool, claimed, claimed.expires_at)).await
    }

    /// Asks the push service once for one device, and writes down what it said.
    async fn attempt(
        &self,
        claimed: &Claimed,
        content: &PushContent,
        token: &DeviceToken,
        due: Due,
    ) -> Result<(), sqlx::Error> {
        let verdict = if let Some(after) = self.holds.remaining(token.platform) {
            Verdict::Later { after, reason: "held", counts: false }
        } else {
            failpoint!("before_push");
            let answer = self.gateway.send(&message(claimed, content, token)).await;
            failpoint!("after_push");
            self.judge(&answer, token, due)
        };
        metrics::counter!(
            "fanlight_push_attempts_total",
            "platform" => token.platform.as_str(), "verdict" => verdict.as_str()
        )
        .increment(1);
        if let Verdict::TokenDead { reason } = verdict {
            within_deadline(self.tokens.retire(token.id, reason, claimed.now)).await?;
        }
        within_deadline(attempts::record(&self.pool, claimed.id, token.id, verdict)).await
    }

    /// What an answer of the push service means for this attempt, and for all others.
    fn judge(&self, answer: &Result<Accepted, PushError>, token: &DeviceToken, due: Due) -> Verdict {
        let retry = |after: Option<Duration>| {
            let attempts = u32::try_from(due.attempts).unwrap_or(0);
            after.unwrap_or_else(|| backoff(attempts, &self.config.push))
        };
        match *answer {
            Ok(_) => Verdict::Accepted,
            Err(PushError::Retry { after, reason }) => {
                Verdict::Later { after: retry(after), reason, counts: true }
            }
            Err(PushError::Hold { after, reason }) => {
                self.holds.hold(None, after);
                Verdict::Later { after, reason, counts: true }
            }
            Err(PushError::HoldPlatform { after, reason }) => {
                self.holds.hold(Some(token.platform), after);
                Verdict::Later { after, reason, counts: true }
            }
            Err(PushError::TokenDead { reason }) => Verdict::TokenDead { reason },
            Err(PushError::Fatal { reason }) => {
                tracing::error!(push.reason = reason, "the push service will never take this message");
                Verdict::Refused { reason }
            }
        }
    }

    async fn conclude(&self, claimed: &Claimed, summary: Summary) -> Result<(), sqlx::Error> {
        let give_up_at = claimed.created_at + Duration::from_secs(self.config.push.give_up_minutes * 60);
        let due_at = match summary.next_attempt_at {
            Some(next) if next <= give_up_at => next.min(claimed.expires_at),
            _ if summary.accepted => return settle(&self.pool, claimed, Outcome::Pushed).await,
            // Nothing was taken and nothing will be: the next connect, or the end of its life, settles it.
            _ => claimed.expires_at,
        };
        within_deadline(outbox::reschedule(&self.pool, claimed, due_at)).await
    }
}

/// Settles a claimed event, and counts it.
async fn settle(pool: &PgPool, claimed: &Claimed, outcome: Outcome) -> Result<(), sqlx::Error> {
    if within_deadline(outbox::settle(pool, claimed, outcome)).await? {
        outcome.count(&claimed.kind);
    }
    Ok(())
}

fn message(claimed: &Claimed, content: &PushContent, token: &DeviceToken) -> Push {
    let text = texts::render(&content.text, &content.args, &token.locale);
    let mut data = content.data.clone();
    data.insert("type".into(), claimed.kind.clone());
    data.insert("eventId".into(), claimed.id.to_string());
    data.insert("seq".into(), claimed.seq.to_string());
    Push {
        token: token.fcm_token.clone(),
        platform: token.platform,
        data,
        title: text.title,
        body: text.body,
        collapse_key: content.collapse_key.clone(),
        ttl: (claimed.expires_at - claimed.now).to_std().unwrap_or(Duration::ZERO),
    }
}
