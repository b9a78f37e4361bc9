//! How much memory all connections of a node may hold together.
//!
//! Each queue has its own bound, but a thousand full queues are more than a node has, and so are a thousand messages of
//! which clients have sent half. Above the budget an event is no longer kept for a connection: it is told that there
//! is one, and reads it from Postgres when it can. And the connections that hold the most are closed; they resume. So
//! memory runs out for nobody, and no event is lost.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::delivery::mailbox::{Farewell, Mailbox};
use crate::delivery::registry::Registry;
use crate::shutdown::Shutdown;
use crate::telemetry::as_gauge;

/// Connections are closed until this many percent of the budget are in use.
const RELIEVED_AT_PERCENT: usize = 80;
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Those who were closed need a moment to free what they hold, before it shows whether that was enough.
const RELIEF_PAUSE: Duration = Duration::from_millis(100);

pub struct Budget {
    bytes_max: usize,
    bytes: AtomicUsize,
    /// Set when the budget was exceeded, until there is room again.
    exhausted: AtomicBool,
    exceeded: Notify,
}

impl Budget {
    #[must_use]
    pub fn new(bytes_max: usize) -> Arc<Self> {
        let (bytes, exhausted) = (AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(Self { bytes_max, bytes, exhausted, exceeded: Notify::new() })
    }

    /// Whether the node should take on nobody else now.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes `bytes` if they are there.
    fn try_take(&self, bytes: usize) -> bool {
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.bytes_max {
            return true;
        }
        self.give_back(bytes);
        self.exceed();
        false
    }

    /// Takes `bytes` that are in use already, even beyond the budget.
    fn take(&self, bytes: usize) {
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > self.bytes_max {
            self.exceed();
        }
    }

    fn give_back(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn exceed(&self) {
        self.exhausted.store(true, Ordering::Relaxed);
        self.exceeded.notify_one();
    }

    fn bytes_relieved(&self) -> usize {
        self.bytes_max / 100 * RELIEVED_AT_PERCENT
    }

    /// Keeps the node within its budget until the process stops.
    pub async fn keep(self: Arc<Self>, registry: Arc<Registry>, shutdown: Shutdown) {
        metrics::gauge!("fanlight_queued_max_bytes").set(as_gauge(self.bytes_max));
        while !shutdown.is_stopping() {
            // Cancel-safe: a lost notification is repeated by the timer.
            let woken = tokio::time::timeout(WATCH_INTERVAL, self.exceeded.notified());
            shutdown.unless_stopped(woken).await.map(drop).unwrap_or_default();
            metrics::gauge!("fanlight_queued_bytes").set(as_gauge(self.bytes()));
            if self.is_exhausted() {
                self.relieve(&registry);
                shutdown.unless_stopped(tokio::time::sleep(RELIEF_PAUSE)).await;
            }
        }
    }

    /// Closes the connections that hold the most, until there is room again.
    pub fn relieve(&self, registry: &Registry) {
        let mut excess = self.bytes().saturating_sub(self.bytes_relieved());
        let mut holders: Vec<(usize, Arc<Mailbox>)> =
            registry.all().into_iter().map(|it| (it.weight(), it)).collect();
        holders.sort_unstable_by_key(|(weight, _)| Reverse(*weight));
        for (weight, mailbox) in holders {
            if excess == 0 || weight == 0 {
                break;
            }
            // Those that are leaving already free their memory soon.
            if mailbox.close(Farewell::SlowConsumer) {
                metrics::counter!("fanlight_budget_closes_total").increment(1);
            }
            excess = excess.saturating_sub(weight);
        }
        if self.bytes() <= self.bytes_relieved() {
            self.exhausted.store(false, Ordering::Relaxed);
        }
    }
}

/// What one connection takes from the budget of its node. Whatever it still has when it is dropped is given back.
#[derive(Default)]
pub struct Share {
    /// `None`: the connection is part of no node.
    budget: Option<Arc<Budget>>,
    bytes: AtomicUsize,
}

impl Share {
    #[must_use]
    pub fn of(budget: &Arc<Budget>) -> Arc<Self> {
        Arc::new(Self { budget: Some(Arc::clone(budget)), bytes: AtomicUsize::new(0) })
    }

    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes `bytes` if they are there.
    #[must_use]
    pub fn try_take(&self, bytes: usize) -> bool {
        let taken = self.budget.as_ref().is_none_or(|budget| budget.try_take(bytes));
        if taken {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        taken
    }

    /// Takes `bytes`, even beyond the budget.
    pub fn take(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(budget) = &self.budget {
            budget.take(bytes);
        }
    }

    pub fn give_back(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(budget) = &self.budget {
            budget.give_back(bytes);
        }
    }

    /// Counts bytes that are in use already, even beyond the budget, until the answer is dropped.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        let mut held = Held { share: Arc::clone(self), bytes: 0 };
        held.grow_to(bytes);
        held
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.give_back(*self.bytes.get_mut());
        }
    }
}

/// Bytes in the hands of a connection: what it writes, what it has read from Postgres, what its client has sent of a
/// message that is not complete.
pub struct Held {
    share: Arc<Share>,
    bytes: usize,
}

impl Held {
    /// Counts this many, if that is more than before.
    pub fn grow_to(&mut self, bytes: usize) {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return;
        }
        self.bytes += more;
        self.share.take(more);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.share.give_back(self.bytes);
    }
}
