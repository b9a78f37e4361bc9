//! Marks inside one process, for tests and for a single node without Redis.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Device, Found, Mark, Marks, Silent};
use crate::domain::ids::{ConnectionId, NodeId, UserId};
use crate::ports::presence::{Entry, MemoryPresence, Presence as _, PresenceError};

/// A node without a lease is gone here, never silent for a while only.
pub struct MemoryMarks {
    presence: Arc<MemoryPresence>,
    marks: Mutex<HashMap<ConnectionId, Mark>>,
}

impl MemoryMarks {
    #[must_use]
    pub fn new(presence: Arc<MemoryPresence>) -> Self {
        Self { presence, marks: Mutex::default() }
    }
}

#[async_trait]
impl Marks for MemoryMarks {
    async fn set(&self, marks: &[(Entry, Mark)]) -> Result<(), PresenceError> {
        let mut kept = self.marks.lock();
        for (entry, mark) in marks {
            kept.insert(entry.connection, *mark);
        }
        kept.retain(|_, mark| *mark != Mark::default());
        Ok(())
    }

    async fn find(&self, users: &[UserId]) -> Result<Vec<Found>, PresenceError> {
        let mut found = Vec::with_capacity(users.len());
        for user in users {
            let entries = self.presence.connections_of(*user).await?;
            let marks = self.marks.lock();
            let device = |entry: &Entry| Device {
                connection: entry.connection,
                node: entry.node,
                mark: marks.get(&entry.connection).copied().unwrap_or_default(),
            };
            let devices = entries.iter().map(device).collect();
            found.push(Found { user: *user, devices, is_certain: true });
        }
        Ok(found)
    }

    async fn silent(&self, nodes: &[NodeId]) -> Result<Vec<Silent>, PresenceError> {
        let silent = nodes.iter().filter(|node| !self.presence.is_alive(**node));
        Ok(silent.map(|node| Silent { node: *node, since: Duration::ZERO }).collect())
    }
}
