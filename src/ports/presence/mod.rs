//! Which node holds which user's sockets.
//!
//! Presence is advice, never truth: Redis may forget all of it, and that costs time, not an event. An
//! entry whose node has no live lease is void; whoever meets one removes it.

use async_trait::async_trait;

use crate::domain::ids::{ConnectionId, NodeId, UserId};

#[cfg(test)]
mod contract;
mod memory;
mod redis;

pub use memory::MemoryPresence;
pub use redis::RedisPresence;

/// One socket, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub user: UserId,
    pub connection: ConnectionId,
    pub node: NodeId,
}

#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// The store did not answer in time; what it holds now is unknown. Safe to repeat.
    #[error("presence is unavailable: {0}")]
    Unavailable(String),
}

/// All operations are idempotent, and those of one entry take effect in the order they were called.
#[async_trait]
pub trait Presence: Send + Sync {
    /// Adds entries. They count while their node's lease lives.
    async fn enter(&self, entries: &[Entry]) -> Result<(), PresenceError>;

    /// Removes exactly these connections, never a newer one of the same user.
    async fn leave(&self, entries: &[Entry]) -> Result<(), PresenceError>;

    /// The user's entries whose nodes are alive. Removes those that are not.
    async fn connections_of(&self, user: UserId) -> Result<Vec<Entry>, PresenceError>;

    /// Keeps this node's entries valid for one more lease.
    async fn renew_lease(&self, node: NodeId) -> Result<(), PresenceError>;

    /// Voids all entries of a node that leaves.
    async fn release_lease(&self, node: NodeId) -> Result<(), PresenceError>;
}
