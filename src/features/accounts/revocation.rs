//! Makes the end of a session known on every node, also while the broker is away.
//!
//! The node that ends a session tells the others at once, through the broker. The broker may lose that, so
//! each node also asks Postgres every second what was revoked lately. The window overlaps by
//! [`OVERLAP`]: a transaction that commits late, or a node whose clock is behind, is not skipped.

use std::sync::Arc;
use std::time::Duration;

use crate::db::{PgPool, within_deadline};
use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::ids::{SessionId, UserId};
use crate::edge::auth::Authenticator;
use crate::features::accounts::repository::sessions;
use crate::features::accounts::service::Announce;
use crate::shutdown::Shutdown;

/// How far back each poll looks beyond the one before.
const OVERLAP: Duration = Duration::from_secs(30);
const PERIOD: Duration = Duration::from_secs(1);
const BATCH: u32 = 1000;

/// A session has ended before its time: its tokens are void, its sockets close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRevoked {
    pub session: SessionId,
    pub user: UserId,
}

/// Until when a session that was revoked at `revoked_at` must be remembered: its last access token has
/// expired by then, and no poll finds it any more.
#[must_use]
pub fn forget_at(revoked_at: Timestamp, access_ttl: Duration) -> Timestamp {
    revoked_at + access_ttl + OVERLAP * 2
}

/// Finds what other nodes revoked.
pub struct Watch {
    pub authenticator: Arc<Authenticator>,
    pub pool: PgPool,
    pub clock: SharedClock,
    pub access_ttl: Duration,
    /// Called for each session that this node did not know to be revoked; closes its sockets here.
    pub found: Announce,
}

/// Polls until the process stops.
pub async fn watch(watch: Watch, shutdown: Shutdown) {
    // At boot: all that live tokens may belong to.
    let mut since = watch.clock.now() - watch.access_ttl;
    let mut timer = tokio::time::interval(PERIOD);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while shutdown.unless_stopped(timer.tick()).await.is_some() {
        let started = watch.clock.now();
        match within_deadline(watch.poll(since)).await {
            Ok(_) => since = started,
            // Whatever is revoked meanwhile is found by the first poll that succeeds.
            Err(error) => tracing::warn!(%error, "revoked sessions cannot be read"),
        }
        watch.authenticator.revoked().forget_before(started);
    }
}

impl Watch {
    /// Reads what was revoked since `since`, and before it within the overlap. Returns how many were news.
    ///
    /// # Errors
    /// When Postgres does not answer; some may have been found before.
    pub async fn poll(&self, since: Timestamp) -> Result<usize, sqlx::Error> {
        let mut after = (since - OVERLAP, SessionId(uuid::Uuid::nil()));
        let mut news = 0;
        loop {
            let batch = sessions::revoked_after(&self.pool, after, BATCH.into()).await?;
            for revoked in &batch {
                let forget_at = forget_at(revoked.at, self.access_ttl);
                if self.authenticator.revoked().insert(revoked.session, forget_at) {
                    news += 1;
                    (self.found)(SessionRevoked { session: revoked.session, user: revoked.user });
                }
            }
            match batch.last() {
                Some(last) if batch.len() == BATCH as usize => after = (last.at, last.session),
                _ => return Ok(news),
            }
        }
    }
}
