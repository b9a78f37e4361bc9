//! Looks, a grace after a user's connection was closed or a node was lost, whether the user is still connected anywhere.
//!
//! Whoever is not goes offline. As long as Redis cannot be believed, or the user's node may come back, nobody does. That a user is
//! to be looked at stands in Postgres, so it does not matter which node does it, or dies before it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::repository::Claim;
use super::{Shared, repository};
use crate::db::within_deadline;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{NodeId, UserId};
use crate::ports::presence::marks::{Device, Found};
use crate::ports::presence::{Entry, PresenceError};
use crate::shutdown::Shutdown;

const USERS_PER_LOOK: i64 = 500;
/// Again after this, while nothing is certain or the node that looks dies.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// So much later than it does so anyway are users looked at for whom another node answers.
const PATIENCE: Duration = Duration::from_secs(3);
/// Beyond the grace, until this node has looked at all that it wrote down.
const LATEST: Duration = Duration::from_secs(10);
const QUICK_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Presence(#[from] PresenceError),
}

/// When there is somebody to look at.
#[derive(Default)]
pub struct Lookout {
    until: Mutex<Option<Instant>>,
    news: Notify,
}

impl Lookout {
    /// Somebody is to be looked at then.
    pub fn expect_within(&self, grace: Duration) {
        let (until, mut latest) = (Instant::now() + grace + LATEST, self.until.lock());
        *latest = latest.max(Some(until));
        drop(latest);
        self.news.notify_one();
    }

    fn is_expecting(&self) -> bool {
        self.until.lock().is_some_and(|until| Instant::now() < until)
    }
}

/// Looks until the process stops.
pub async fn run(shared: Arc<Shared>, shutdown: Shutdown) {
    let config = &shared.parts.config;
    let quick = (config.grace() / 4).min(QUICK_MAX);
    let mut swept_at = Instant::now();
    while !shutdown.is_stopping() {
        let is_expecting = shared.lookout.is_expecting();
        let pause = if is_expecting { quick } else { config.sweep_interval() };
        // Cancel-safe: a lost notification is repeated by the timer.
        let woken = async {
            if is_expecting {
                tokio::time::sleep(pause).await;
            } else {
                drop(timeout(pause, shared.lookout.news.notified()).await);
            }
        };
        if shutdown.unless_stopped(woken).await.is_none() {
            break;
        }
        if swept_at.elapsed() >= config.sweep_interval() {
            swept_at = Instant::now();
            if let Err(error) = sweep(&shared).await {
                tracing::debug!(%error, "cannot look for lost nodes; will try again");
            }
        }
        if let Err(error) = look(&shared).await {
            tracing::debug!(%error, "cannot look who is still there; will try again");
        }
    }
}

/// Takes over the users of nodes that are lost.
pub async fn sweep(shared: &Shared) -> Result<(), LookError> {
    let parts = &shared.parts;
    let nodes = within_deadline(repository::answering_nodes(&parts.background, parts.node)).await?;
    for silent in parts.marks.silent(&nodes).await? {
        let silent = (silent.node, silent.since);
        loop {
            let (grace, max) = (parts.config.grace(), USERS_PER_LOOK);
            let orphan = repository::orphan(&parts.background, parts.node, silent, grace, max);
            let taken = within_deadline(orphan).await?;
            metrics::counter!("fanlight_presence_orphans_total").increment(taken);
            if taken == 0 {
                break;
            }
            shared.lookout.expect_within(grace);
        }
    }
    Ok(())
}

/// Looks at everybody who is due.
pub async fn look(shared: &Shared) -> Result<(), LookError> {
    let Shared { parts, .. } = shared;
    loop {
        let patience = parts.config.sweep_interval() + PATIENCE;
        let claim =
            repository::claim(&parts.background, parts.node, RETRY_INTERVAL, patience, USERS_PER_LOOK);
        let Some(claim) = within_deadline(claim).await? else { return Ok(()) };
        shared.lookout.expect_within(RETRY_INTERVAL);
        look_at(shared, claim).await?;
    }
}

async fn look_at(shared: &Shared, Claim { users, look_at }: Claim) -> Result<(), LookError> {
    let parts = &shared.parts;
    let (here, elsewhere): (Vec<UserId>, Vec<UserId>) =
        users.into_iter().partition(|user| !parts.registry.connections_of(*user).is_empty());
    count("here", here.len());
    shared.vouch_again(&here);

    let found = parts.marks.find(parts.node, &elsewhere).await?;
    let (mut came, mut absent, mut held, mut void) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for Found { user, devices, is_certain } in found {
        let (ours, others): (Vec<Device>, Vec<Device>) =
            devices.into_iter().partition(|device| device.node == parts.node);
        // Said to be here, and are not: Redis was away when they were closed. Whoever came while Redis was asked, is.
        let is_void = |device: &&Device| !parts.registry.contains(user, device.connection);
        let entry = |device: &Device| Entry { user, connection: device.connection, node: device.node };
        void.extend(ours.iter().filter(is_void).map(entry));
        match (others.first(), is_certain) {
            _ if !parts.registry.connections_of(user).is_empty() => came.push(user),
            (Some(device), _) => held.push((user, device.node)),
            // Whom this node remembers, it saw leave a moment ago, or is about to: the grace has yet to begin.
            (None, true) if !shared.vouched.lock().contains_key(&user) => absent.push(user),
            (None, _) => count("later", 1),
        }
    }
    count("here", came.len());
    shared.vouch_again(&came);
    parts.presence.leave(&void).await?;
    hand_over(shared, &held, look_at).await?;
    if !absent.is_empty() {
        // A device that came to this node a moment ago may not have been in Redis yet.
        absent.retain(|user| parts.registry.connections_of(*user).is_empty());
        let gone = within_deadline(repository::absent(&parts.background, &absent, look_at)).await?;
        count("offline", gone.len());
        shared.tell(gone).await;
    }
    Ok(())
}

async fn hand_over(shared: &Shared, held: &[(UserId, NodeId)], look_at: Timestamp) -> Result<(), LookError> {
    count("elsewhere", held.len());
    if !held.is_empty() {
        within_deadline(repository::hand_over(&shared.parts.background, held, look_at)).await?;
    }
    Ok(())
}

fn count(result: &'static str, users: usize) {
    metrics::counter!("fanlight_presence_looks_total", "result" => result).increment(users as u64);
}
