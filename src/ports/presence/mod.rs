//! Which node holds which user's sockets.
//!
//! Presence is advice, never truth: Redis may forget all of it, and that costs time, not an event. An
//! entry whose node has no live lease is void; whoever meets one removes it.

use async_trait::async_trait;

use crate::domain::ids::{ConnectionId, NodeId, UserId};

#[cfg(test)]
mod contract;
pub mod marks;
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

/// What had become of a lease when it was renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It never ended, and so the node's entries counted all the time.
    Kept,
    /// It had ended, or is the node's first: whoever met entries of the node meanwhile has removed them as
    /// void. Enter all of them again.
    Begun,
}

/// All operations are idempotent, and those of a few entries take effect in the order they were
/// called. Many entries entered at once may overtake the rest.
#[async_trait]
pub trait Presence: Send + Sync {
    /// Adds entries. They count while their node's lease lives.
    async fn enter(&self, entries: &[Entry]) -> Result<(), PresenceError>;

    /// Removes exactly these connections, never a newer one of the same user.
    async fn leave(&self, entries: &[Entry]) -> Result<(), PresenceError>;

    /// Removes these connections of users whom this node sends to others. For a while they count neither as
    /// connected nor as absent.
    async fn depart(&self, entries: &[Entry]) -> Result<(), PresenceError>;

    /// The user's entries whose nodes are alive, or were a moment ago. Removes those of nodes that are gone.
    ///
    /// # Errors
    /// Also when there are none and that cannot be believed: Redis hung or came back empty a moment ago.
    async fn connections_of(&self, user: UserId) -> Result<Vec<Entry>, PresenceError>;

    /// Keeps this node's entries valid for one more lease, and says whether they were until now.
    async fn renew_lease(&self, node: NodeId) -> Result<Renewal, PresenceError>;

    /// Voids all entries of a node that leaves.
    async fn release_lease(&self, node: NodeId) -> Result<(), PresenceError>;
}
