//! Finds events that were lost on the way to a connection of this node.
//!
//! Compares how far each connection is with how far its user's sequence is, one statement for many users.
//! Seldom while the broker is well, because the next event reveals a gap anyway; every second while it is
//! not, so that delivery goes on without it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::db::{PgPool, soon_or_again};
use crate::delivery::mailbox::{Farewell, Mailbox};
use crate::delivery::outbox;
use crate::delivery::registry::Registry;
use crate::domain::ids::UserId;
use crate::seeded_bug;
use crate::shutdown::Shutdown;

/// While the broker is away, or the last comparison failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
const USERS_PER_STATEMENT: usize = 1_000;

/// Whether the way through the broker works, and who wants to hear when it failed.
#[derive(Default)]
pub struct BrokerHealth {
    well: AtomicBool,
    changed: Notify,
}

impl BrokerHealth {
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.well.load(Ordering::Relaxed)
    }

    /// Records what a probe found; a change starts a comparison at once.
    pub fn set(&self, well: bool) {
        if self.well.swap(well, Ordering::Relaxed) != well {
            self.changed.notify_one();
        }
    }

    /// Something may have been missed: compare at once.
    pub fn interrupted(&self) {
        self.changed.notify_one();
    }
}

pub struct Reconciler {
    pub pool: PgPool,
    pub registry: Arc<Registry>,
    pub health: Arc<BrokerHealth>,
    /// How often, while the broker is well.
    pub interval: Duration,
}

impl Reconciler {
    /// Compares until the process stops.
    pub async fn run(self, shutdown: Shutdown) {
        let mut compared = true;
        while !shutdown.is_stopping() {
            // A comparison that failed has used up what woke it: the next must not wait for the long interval.
            let soon = !compared || !self.health.is_well();
            let pause = if soon { RETRY_INTERVAL } else { self.interval };
            // Cancel-safe: a lost notification is repeated by the timer.
            let woken = tokio::time::timeout(pause, self.health.changed.notified());
            shutdown.unless_stopped(woken).await.map(drop).unwrap_or_default();
            let result = self.compare().await;
            compared = result.is_ok();
            if let Err(error) = result {
                tracing::warn!(%error, "cannot compare connections with postgres; will try again");
            }
        }
    }

    /// One comparison of all connections of this node.
    pub async fn compare(&self) -> Result<(), sqlx::Error> {
        // How far each connection is, read before the sequences: it can be ahead only of a lost past.
        let mut by_user: HashMap<UserId, Vec<(i64, Arc<Mailbox>)>> = HashMap::new();
        for mailbox in self.registry.all() {
            by_user.entry(mailbox.user).or_default().push((mailbox.sent_seq(), mailbox));
        }
        let users: Vec<UserId> = by_user.keys().copied().collect();
        for chunk in users.chunks(USERS_PER_STATEMENT) {
            for (user, last_seq) in soon_or_again(outbox::last_seqs(&self.pool, chunk)).await? {
                for (sent_seq, mailbox) in by_user.get(&user).into_iter().flatten() {
                    compare_one(mailbox, *sent_seq, last_seq);
                }
            }
        }
        Ok(())
    }
}

fn compare_one(mailbox: &Mailbox, sent_seq: i64, last_seq: i64) {
    if sent_seq > last_seq {
        // Postgres went back in time: a standby took over without the last commits. This connection would
        // take the next events for old ones; when it comes back it is told to read the state.
        metrics::counter!("fanlight_reconcile_ahead_total").increment(1);
        mailbox.close(Farewell::Leaving);
    } else if mailbox.sent_seq() < last_seq && !seeded_bug::leaves_gaps() {
        metrics::counter!("fanlight_reconcile_gaps_total").increment(1);
        mailbox.hint(last_seq);
    }
}
