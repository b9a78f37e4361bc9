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

use crate::db::{PgPool, soon_or_again};
use crate::delivery::config::SettledBy;
use crate::delivery::cursors;
use crate::delivery::mailbox::Mailbox;
use crate::delivery::outbox::{self, Confirmed};
use crate::delivery::outcome::Reason;
use crate::failpoint;
use crate::shutdown::Shutdown;
use crate::telemetry::traces;

/// What the connection of a device without a name confirms under.
const UNNAMED_DEVICE: &str = "";

/// How a device showed that it has everything up to a seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It answered the ping that came after.
    Pong,
    /// It said so.
    Ack,
    /// It came back and asked for what is later.
    Resume,
}

impl Receipt {
    fn reason(self) -> Reason {
        match self {
            Self::Pong => Reason::Pong,
            Self::Ack => Reason::Ack,
            Self::Resume => Reason::Resumed,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Confirmer {
    user: Uuid,
    device: String,
}

/// How far a device has confirmed, and how the highest of it.
#[derive(Clone, Copy)]
struct Confirmation {
    seq: i64,
    receipt: Receipt,
}

type Pending = HashMap<Confirmer, Confirmation>;

/// Cheap to clone; all clones feed one batch.
#[derive(Clone)]
pub struct Settlement {
    shared: Arc<Shared>,
}

struct Shared {
    settled_by: SettledBy,
    pending: Mutex<Pending>,
    arrived: Notify,
}

impl Settlement {
    #[must_use]
    pub fn new(settled_by: SettledBy) -> Self {
        Self { shared: Arc::new(Shared { settled_by, pending: Mutex::default(), arrived: Notify::new() }) }
    }

    /// Notes that a device has everything up to `seq`.
    pub fn confirm(&self, mailbox: &Mailbox, seq: i64, receipt: Receipt) {
        failpoint!("on_confirm");
        let device = match self.shared.settled_by {
            SettledBy::AnyDevice => UNNAMED_DEVICE,
            SettledBy::EveryDevice => mailbox.device.as_deref().unwrap_or(UNNAMED_DEVICE),
        };
        let confirmer = Confirmer { user: mailbox.user.0, device: device.to_owned() };
        note(&mut self.shared.pending.lock(), confirmer, Confirmation { seq, receipt });
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
        let mut rows: Vec<(Confirmer, Confirmation)> = batch.into_iter().collect();
        rows.sort_by(|(a, _), (b, _)| (a.user, &a.device).cmp(&(b.user, &b.device)));
        failpoint!("before_settle");
        if let Err(error) = self.write(pool, &rows).await {
            tracing::warn!(%error, "cannot settle confirmed events; will try again");
            metrics::counter!("fanlight_settlement_failures_total").increment(1);
            self.put_back(rows);
        }
    }

    async fn write(&self, pool: &PgPool, rows: &[(Confirmer, Confirmation)]) -> Result<(), sqlx::Error> {
        let users: Vec<Uuid> = rows.iter().map(|(confirmer, _)| confirmer.user).collect();
        let seqs: Vec<i64> = rows.iter().map(|(_, confirmation)| confirmation.seq).collect();
        match self.shared.settled_by {
            SettledBy::AnyDevice => {
                let reason = |(_, confirmation): &(_, Confirmation)| confirmation.receipt.reason().as_str();
                let reasons: Vec<String> = rows.iter().map(reason).map(Into::into).collect();
                let began = traces::now();
                let settle = outbox::settle_confirmed(pool, &users, &seqs, &reasons);
                let confirmed = soon_or_again(settle).await?;
                failpoint!("after_settle");
                for Confirmed { settled, seconds } in confirmed {
                    settled.tell(began);
                    metrics::histogram!("fanlight_delivery_confirm_duration_seconds", "kind" => settled.kind)
                        .record(seconds);
                }
                Ok(())
            }
            // The sweeper settles, when it knows which devices the user has.
            SettledBy::EveryDevice => {
                let devices: Vec<String> =
                    rows.iter().map(|(confirmer, _)| confirmer.device.clone()).collect();
                soon_or_again(cursors::advance(pool, &users, &devices, &seqs)).await
            }
        }
    }

    fn put_back(&self, rows: Vec<(Confirmer, Confirmation)>) {
        let mut pending = self.shared.pending.lock();
        for (confirmer, confirmation) in rows {
            note(&mut pending, confirmer, confirmation);
        }
        drop(pending);
        self.shared.arrived.notify_one();
    }
}

/// Keeps the highest.
fn note(pending: &mut Pending, confirmer: Confirmer, confirmation: Confirmation) {
    let highest = pending.entry(confirmer).or_insert(confirmation);
    if confirmation.seq > highest.seq {
        *highest = confirmation;
    }
}
