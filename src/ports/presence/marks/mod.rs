//! What connections say of themselves, and whom other nodes hold: asked for many users at once.
//!
//! Only a connection that said something costs anything here. What it said counts while its entry in
//! [`Presence`](super::Presence) does; whoever meets it later removes it.

use std::time::Duration;

use async_trait::async_trait;

use super::{Entry, PresenceError};
use crate::domain::ids::{ChannelId, ConnectionId, NodeId, UserId};

mod memory;
mod redis;

pub use memory::MemoryMarks;
pub use redis::RedisMarks;

/// What a connection says of itself. The default is what one means that says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Nobody looks at the device.
    pub is_away: bool,
    /// The conversation that it shows.
    pub viewing: Option<ChannelId>,
}

/// A connection that lives, as far as presence knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    pub connection: ConnectionId,
    pub node: NodeId,
    pub mark: Mark,
}

/// Where a user is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub user: UserId,
    pub devices: Vec<Device>,
    /// Whether that is all. Not while a node of the user's is silent, while the user is on the way to another node or was on one a
    /// moment ago, or if there is nothing and that cannot be believed.
    pub is_certain: bool,
}

/// A node that did not renew its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silent {
    pub node: NodeId,
    /// For how long, as far as that is known.
    pub since: Duration,
}

#[async_trait]
pub trait Marks: Send + Sync {
    /// Keeps what these connections say now; the default is not kept.
    async fn set(&self, marks: &[(Entry, Mark)]) -> Result<(), PresenceError>;

    /// For so long no other node takes it for certain that these users, who were connected to this one, are gone.
    async fn linger(&self, node: NodeId, users: &[(UserId, Duration)]) -> Result<(), PresenceError>;

    /// Where these users are connected, in their order, for a node that asks.
    async fn find(&self, asker: NodeId, users: &[UserId]) -> Result<Vec<Found>, PresenceError>;

    /// Those of the nodes that have no lease.
    ///
    /// # Errors
    /// Also when that cannot be believed: Redis hung or came back empty a moment ago.
    async fn silent(&self, nodes: &[NodeId]) -> Result<Vec<Silent>, PresenceError>;
}
