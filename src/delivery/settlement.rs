//! Writes down what devices have confirmed, in batches.
//!
//! Confirmations are cumulative, so only the highest per user is kept until the next flush: the memory is
//! bounded by the users who are connected here. A lost one costs a repeated event, never a missing one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::db::{PgPool, within_deadline};
use crate::delivery::config::SettledBy;
use crate::delivery::cursors;
use crate::delivery::mailbox::Mailbox;
use crate::delivery::outbox::{self, Outcome};
use crate::shutdown::Shutdown;

/// What the connection of a device without a name confirms under.
const UNNAMED_DEVICE: &str = "";

#[derive(Clone, PartialEq, Eq, Hash)]
struct Confirmer {
    user: Uuid,
    device: String,
}

/// Cheap to clone; all clones feed one batch.
#[derive(Clone)]
pub struct Settlement {
    shared: Arc<Shared>,
}

struct Shared {
    settled_by: SettledBy,
    pending: Mutex<HashMap<Confirmer, i64>>,
    arrived: Notify,
}

impl Settlement {
    #[must_use]
    pub fn new(settled_by: SettledBy) -> Self {
        Self { shared: Arc::new(Shared { settled_by, pending: Mutex::default(), arrived: Notify::new() }) }
    }

    /// Notes that a device has everything up to `seq`.
    pub fn confirm(&self, mailbox: &Mailbox, seq: i64) {
        let device = match self.shared.settled_by {
            SettledBy::AnyDevice => UNNAMED_DEVICE,
            SettledBy::EveryDevice => mailbox.device.as_deref().unwrap_or(UNNAMED_DEVICE),
        };
        let confirmer = Confirmer { user: mailbox.user.0, device: device.to_owned() };
        let mut pending = self.shared.pending.lock();
        let highest = pending.entry(confirmer).or_insert(seq);
        *highest = seq.max(*highest);
        drop(pending);
        self.shared.arrived.notify_one();
    }

    /// Flushes until the process stops, and once more then.
    pub async fn run(self, pool: PgPool, interval: Duration, shutdown: Shutdown) {
        while shutdown.unless_stopped(self.shared.arrived.notified()).await.is_some() {
            // Confirmations of the next moments travel in the same statement.
            shutdown.unless_stopped(tokio::time::sleep(interval)).await;
            self.flush(&pool).await;
        }
        self.flush(&pool).await;
    }

    /// Writes what is pending. What cannot be written now is kept for the next flush.
    pub async fn flush(&self, pool: &PgPool) {
        let batch = std::mem::take(&mut *self.shared.pending.lock());
        if batch.is_empty() {
            return;
        }
        // Sorted, so that the flushes of two nodes lock rows in the same order.
        let mut rows: Vec<(Confirmer, i64)> = batch.into_iter().collect();
        rows.sort_by(|(a, _), (b, _)| (a.user, &a.device).cmp(&(b.user, &b.device)));
        if let Err(error) = self.write(pool, &rows).await {
            tracing::warn!(%error, "cannot settle confirmed events; will try again");
            metrics::counter!("fanlight_settlement_failures_total").increment(1);
            self.put_back(rows);
        }
    }

    async fn write(&self, pool: &PgPool, rows: &[(Confirmer, i64)]) -> Result<(), sqlx::Error> {
        let users: Vec<Uuid> = rows.iter().map(|(confirmer, _)| confirmer.user).collect();
        let seqs: Vec<i64> = rows.iter().map(|(_, seq)| *seq).collect();
        match self.shared.settled_by {
            SettledBy::AnyDevice => {
                for (kind, seconds) in within_deadline(outbox::settle_confirmed(pool, &users, &seqs)).await? {
                    Outcome::Delivered.count(&kind);
                    metrics::histogram!("fanlight_delivery_confirm_duration_seconds", "kind" => kind)
                        .record(seconds);
                }
                Ok(())
            }
            // The sweeper settles, when it knows which devices the user has.
            SettledBy::EveryDevice => {
                let devices: Vec<String> =
                    rows.iter().map(|(confirmer, _)| confirmer.device.clone()).collect();
                within_deadline(cursors::advance(pool, &users, &devices, &seqs)).await
            }
        }
    }

    fn put_back(&self, rows: Vec<(Confirmer, i64)>) {
        let mut pending = self.shared.pending.lock();
        for (confirmer, seq) in rows {
            let highest = pending.entry(confirmer).or_insert(seq);
            *highest = seq.max(*highest);
        }
        drop(pending);
        self.shared.arrived.notify_one();
    }
}
