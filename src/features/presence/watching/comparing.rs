//! Finds changes that were lost on the way to this node, and watchers who may not watch any more.
//!
//! Seldom while the broker is well, and every second while it is not: watchers go on without it. That two people share nothing
//! any more is found here, too: nobody has to say so.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::book::Seat;
use super::{Heard, Watching};
use crate::db::within_deadline;
use crate::delivery::reconcile::BrokerHealth;
use crate::features::presence::{Config, repository};
use crate::shutdown::Shutdown;

/// While the broker is away, or the last comparison failed; and so soon who had no room is told again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
const USERS_PER_STATEMENT: usize = 1_000;
/// Asked at once whether they may watch; comparison goes on between.
const SEATS_PER_STATEMENT: usize = 1_000;
const STATEMENTS_AT_ONCE: usize = 5;

/// Compares until the process stops.
pub async fn run(watching: Arc<Watching>, config: Config, health: Arc<BrokerHealth>, shutdown: Shutdown) {
    let (mut compared_at, mut rechecked_at, mut rechecked) = (Instant::now(), Instant::now(), None);
    // All of them in one interval, a part of them each time.
    let parts = usize::try_from(config.recheck_interval().as_secs()).unwrap_or(usize::MAX).max(1);
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
        if rechecked_at.elapsed() >= RETRY_INTERVAL {
            rechecked_at = Instant::now();
            if let Err(error) = watching.recheck(&mut rechecked, parts).await {
                tracing::warn!(%error, "cannot ask who may watch; will try again");
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

    /// Ends what may not be watched any more, in one of so many parts: those behind `last`, which moves on with what is done.
    pub async fn recheck(&self, last: &mut Option<Seat>, parts: usize) -> Result<(), sqlx::Error> {
        let part = self.sizes().1.div_ceil(parts).min(SEATS_PER_STATEMENT * STATEMENTS_AT_ONCE);
        let mut seen = 0;
        while seen < part {
            let seats = self.book.lock().seats(*last, SEATS_PER_STATEMENT.min(part - seen));
            // Behind the last one it begins anew, the next time.
            let Some((next, _)) = seats.last().copied() else {
                *last = None;
                break;
            };
            let pairs: HashSet<_> = seats.iter().map(|((user, _), viewer)| (*viewer, *user)).collect();
            let pairs: Vec<_> = pairs.into_iter().collect();
            let hidden = within_deadline(repository::hidden(&self.background, &pairs)).await?;
            metrics::counter!("fanlight_presence_hidden_total").increment(hidden.len() as u64);
            let mut book = self.book.lock();
            for (viewer, user) in hidden {
                book.hide(viewer, user);
            }
            drop(book);
            self.measure();
            seen += seats.len();
            *last = Some(next);
        }
        Ok(())
    }
}
