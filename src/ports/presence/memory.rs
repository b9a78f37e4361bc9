//! Presence inside one process, for tests and for a single node without Redis.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Entry, Presence, PresenceError, Renewal};
use crate::domain::ids::{NodeId, UserId};

/// A lease here lasts until it is released: nodes of one process die together.
#[derive(Default)]
pub struct MemoryPresence(Mutex<State>);

#[derive(Default)]
struct State {
    entries: HashMap<UserId, Vec<Entry>>,
    alive: HashSet<NodeId>,
}

impl MemoryPresence {
    /// Whether the node has a lease.
    #[must_use]
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.0.lock().alive.contains(&node)
    }
}

#[async_trait]
impl Presence for MemoryPresence {
    async fn enter(&self, entries: &[Entry]) -> Result<(), PresenceError> {
        let mut state = self.0.lock();
        for entry in entries {
            let of_user = state.entries.entry(entry.user).or_default();
            of_user.retain(|other| other.connection != entry.connection);
            of_user.push(entry.clone());
        }
        Ok(())
    }

    async fn leave(&self, entries: &[Entry]) -> Result<(), PresenceError> {
        let mut state = self.0.lock();
        for entry in entries {
            if let Some(of_user) = state.entries.get_mut(&entry.user) {
                of_user.retain(|other| other.connection != entry.connection);
            }
        }
        state.entries.retain(|_, of_user| !of_user.is_empty());
        Ok(())
    }

    async fn depart(&self, entries: &[Entry]) -> Result<(), PresenceError> {
        self.leave(entries).await
    }

    async fn connections_of(&self, user: UserId) -> Result<Vec<Entry>, PresenceError> {
        let state = &mut *self.0.lock();
        let Some(of_user) = state.entries.get_mut(&user) else { return Ok(Vec::new()) };
        of_user.retain(|entry| state.alive.contains(&entry.node));
        Ok(of_user.clone())
    }

    async fn renew_lease(&self, node: NodeId) -> Result<Renewal, PresenceError> {
        Ok(if self.0.lock().alive.insert(node) { Renewal::Begun } else { Renewal::Kept })
    }

    async fn release_lease(&self, node: NodeId) -> Result<(), PresenceError> {
        self.0.lock().alive.remove(&node);
        Ok(())
    }
}
