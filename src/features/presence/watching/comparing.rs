//! Finds changes that were lost on the way to this node, and watchers who may not watch any more.
//!
//! Seldom while the broker is well, and every second while it is not: watchers go on without it. That two people share nothing
//! any more is found here, too: nobody has to say so.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Heard, Watching};
use crate::db::within_deadline;
use crate::delivery::reconcile::BrokerHealth;
use crate::features::presence::{Config, repository};
use crate::shutdown::Shutdown;

/// While the broker is away, or the last comparison failed; and so soon who had no room is told again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
const USERS_PER_STATEMENT: usize = 1_000;

/// Compares until the process stops.
pub async fn run(watching: Arc<Watching>, config: Config, health: Arc<BrokerHealth>, shutdown: Shutdown) {
    let (mut compared_at, mut rechecked_at) = (Instant::now(), Instant::now());
    while !shutdown.is_stopping() {
        // Cancel-safe: a lost notification is repeated by the timer.
        let woken = timeout(RETRY_INTERVAL, watching.doubted.notified());
        let Some(woken) = shutdown.unless_stopped(woken).await else { break };
        watching.tell_laggards();
        let is_due = compared_at.elapsed() >= config.compare_interval();
        if woken.is_ok() || is_due || !health.is_well() {
            match watching.compare().await {
                Ok(()) => compared_at = Instant::now(),
                Err(error) => tracing::warn!(%error, "cannot compare presence; will try again"),
            }
        }
        if rechecked_at.elapsed() >= config.recheck_interval() {
            match watching.recheck().await {
                Ok(()) => rechecked_at = Instant::now(),
                Err(error) => tracing::warn!(%error, "cannot ask who may watch; will try again"),
            }
        }
    }
}

impl Watching {
    pub fn tell_laggards(&self) {
        let mut book = self.book.lock();
        let lagging = book.take_lagging();
        let known: Vec<_> =
            lagging.iter().filter_map(|user| book.known(*user)).map(|it| (it, it.revision)).collect();
        drop(book);
        if !known.is_empty() {
            self.hear(Heard::Compared(known));
        }
    }

    /// Hears of what changed unheard.
    pub async fn compare(&self) -> Result<(), sqlx::Error> {
        let known = self.book.lock().revisions();
        for some in known.chunks(USERS_PER_STATEMENT) {
            let changed = within_deadline(repository::changed(&self.pool, some)).await?;
            if changed.is_empty() {
                continue;
            }
            metrics::counter!("fanlight_presence_repairs_total").increment(changed.len() as u64);
            let known: HashMap<_, _> = some.iter().copied().collect();
            self.hear(Heard::Compared(changed.into_iter().map(|it| (it, known[&it.user])).collect()));
        }
        Ok(())
    }

    /// Ends what may not be watched any more.
    pub async fn recheck(&self) -> Result<(), sqlx::Error> {
        let pairs: Vec<_> = self.book.lock().pairs().into_iter().collect();
        for some in pairs.chunks(USERS_PER_STATEMENT) {
            let hidden = within_deadline(repository::hidden(&self.pool, some)).await?;
            metrics::counter!("fanlight_presence_hidden_total").increment(hidden.len() as u64);
            let mut book = self.book.lock();
            for (viewer, user) in hidden {
                book.hide(viewer, user);
            }
            drop(book);
            self.measure();
        }
        Ok(())
    }
}
