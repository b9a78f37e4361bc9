//! Who is online, away or offline, told to those who watch.
//!
//! Online while any connection lives, on whichever node; away while all of them say so; offline a grace after the last one was
//! closed. How everybody stands is in Postgres, and one conditional statement makes each transition: exactly one node makes
//! it, and tells of it. [`vouching`] writes down whose connections came and went on this node; [`looking`] looks whether
//! who left is still connected anywhere, also when a node was lost; [`watching`] tells those who watch, and finds what was lost on
//! the way. What connections say of themselves is in [`sayings`]. A user who neither comes nor goes costs nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::db::PgPool;
use crate::delivery::membership::{Control, Membership};
use crate::delivery::reconcile::BrokerHealth;
use crate::delivery::registry::Registry;
use crate::domain::ids::{ChannelId, NodeId, UserId};
use crate::domain::standing::Standing;
use crate::edge::http::Problem;
use crate::ports::presence::marks::{Found, Marks};
use crate::ports::presence::{Presence, PresenceError};
use crate::shutdown::Shutdown;

mod commands;
mod config;
mod frames;
mod leaving;
mod looking;
mod noting;
mod planning;
mod repository;
mod routes;
mod sayings;
#[cfg(test)]
mod tests;
mod views;
mod vouching;
mod watching;

pub use commands::{Commands, PresenceCommand, described as commands};
pub use config::Config;
pub use frames::{PresenceFrame, described as frames};
pub use routes::{openapi, routes};

use looking::Lookout;
use planning::Known;
use repository::Gone;
use sayings::Sayings;
use vouching::Vouching;
use watching::{Heard, Watching, comparing};

/// What one message to the other nodes says at most.
const STANDINGS_PER_MESSAGE: usize = 200;

/// What presence is made of.
pub struct Parts {
    pub node: NodeId,
    pub config: Config,
    /// For those who ask.
    pub pool: PgPool,
    /// For what nobody waits for.
    pub background: PgPool,
    pub registry: Arc<Registry>,
    pub membership: Arc<Membership>,
    pub presence: Arc<dyn Presence>,
    pub marks: Arc<dyn Marks>,
    /// Whether this node reaches the others.
    pub health: Arc<BrokerHealth>,
}

/// A device of somebody, as it says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Nobody looks at it.
    pub is_away: bool,
    /// The conversation that it shows.
    pub viewing: Option<ChannelId>,
}

/// What the parts of this feature share.
struct Shared {
    parts: Parts,
    sayings: Sayings,
    watching: Arc<Watching>,
    lookout: Lookout,
    /// What Postgres knows of this node's users, until it is written that they left.
    vouched: Mutex<HashMap<UserId, Known>>,
}

impl Shared {
    fn new(parts: Parts) -> (Arc<Self>, mpsc::Receiver<Heard>) {
        let (watching, heard) = Watching::new(&parts);
        let (sayings, lookout, vouched) = (Sayings::default(), Lookout::default(), Mutex::default());
        (Arc::new(Self { parts, sayings, watching: Arc::new(watching), lookout, vouched }), heard)
    }

    /// Tells of transitions, here and on the other nodes. What is lost is found by comparison.
    async fn tell(&self, standings: Vec<Standing>) {
        for standing in &standings {
            let status = standing.availability.as_str();
            metrics::counter!("fanlight_presence_changes_total", "status" => status).increment(1);
        }
        for some in standings.chunks(STANDINGS_PER_MESSAGE) {
            self.watching.hear(Heard::Changed(some.to_vec()));
            self.parts.membership.broadcast(&Control::PresenceChanged { standings: some.to_vec() }).await;
        }
    }

    /// Those who left this node, with whether somebody is known to look at one of their devices elsewhere: if all are away, it
    /// is to be looked how they stand.
    async fn with_whether_elsewhere(&self, left: &[(UserId, Instant)]) -> Vec<Gone> {
        let users: Vec<UserId> = left.iter().map(|(user, _)| *user).collect();
        // Without Redis it is found out later.
        let found = self.parts.marks.find(self.parts.node, &users).await.unwrap_or_default();
        let node = self.parts.node;
        let is_there =
            |found: &&Found| found.devices.iter().any(|device| device.node != node && !device.mark.is_away);
        let elsewhere: HashSet<UserId> = found.iter().filter(is_there).map(|found| found.user).collect();
        let gone = |(user, since): &(UserId, Instant)| Gone {
            user: *user,
            ago: since.elapsed(),
            is_elsewhere: elsewhere.contains(user),
        };
        left.iter().map(gone).collect()
    }

    /// These users are connected here: lets Postgres know it.
    fn vouch_again(&self, users: &[UserId]) {
        self.vouched.lock().extend(users.iter().map(|user| (*user, Known::Unsure)));
        for user in users {
            self.parts.registry.turnover().note(*user);
        }
    }
}

/// Presence on this node.
pub struct Service {
    shared: Arc<Shared>,
}

impl Service {
    #[must_use]
    pub fn start(parts: Parts, shutdown: &Shutdown) -> Arc<Self> {
        let (config, health) = (parts.config.clone(), Arc::clone(&parts.health));
        let (shared, heard) = Shared::new(parts);
        let watching = Arc::clone(&shared.watching);
        shutdown.spawn("presence.vouching", Vouching::new(Arc::clone(&shared)).run(shutdown.clone()));
        shutdown.spawn("presence.looking", looking::run(Arc::clone(&shared), shutdown.clone()));
        shutdown.spawn("presence.telling", Arc::clone(&watching).run(heard, shutdown.clone()));
        shutdown.spawn("presence.comparing", comparing::run(watching, config, health, shutdown.clone()));
        Arc::new(Self { shared })
    }

    /// What another node says, or this one again. Returns at once.
    pub fn hear(&self, standings: Vec<Standing>) {
        self.shared.watching.hear(Heard::Changed(standings));
    }

    /// The living devices of these users, anywhere in the cluster. Of who is on the way to another node, or whose node may be
    /// lost, those that are known.
    ///
    /// # Errors
    /// When nobody can tell now.
    pub async fn devices_of(&self, users: &[UserId]) -> Result<Vec<(UserId, Vec<Device>)>, PresenceError> {
        let found = self.shared.parts.marks.find(self.shared.parts.node, users).await?;
        let devices = |Found { user, devices, .. }: Found| {
            let marks = devices.iter().map(|device| device.mark);
            (user, marks.map(|mark| Device { is_away: mark.is_away, viewing: mark.viewing }).collect())
        };
        Ok(found.into_iter().map(devices).collect())
    }

    /// How those of the users stand whom `viewer` may see, in their order.
    async fn visible(&self, viewer: UserId, users: &[UserId]) -> Result<Vec<Standing>, Problem> {
        Ok(self.shared.watching.visible(viewer, users).await?)
    }
}
