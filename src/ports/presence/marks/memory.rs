//! Marks inside one process, for tests and for a single node without Redis.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Device, Found, Mark, Marks, Silent};
use crate::domain::ids::{ConnectionId, NodeId, UserId};
use crate::ports::presence::{Entry, MemoryPresence, Presence as _, PresenceError};

/// A node without a lease is gone here, never silent for a while only.
pub struct MemoryMarks {
    presence: Arc<MemoryPresence>,
    marks: Mutex<HashMap<ConnectionId, Mark>>,
    /// Who left which node, and until when others do not believe it.
    left: Mutex<HashMap<UserId, (NodeId, Instant)>>,
}

impl MemoryMarks {
    #[must_use]
    pub fn new(presence: Arc<MemoryPresence>) -> Self {
        Self { presence, marks: Mutex::default(), left: Mutex::default() }
    }

    fn is_certain(&self, asker: NodeId, user: UserId) -> bool {
        let left = self.left.lock().get(&user).copied();
        left.is_none_or(|(node, until)| node == asker || until <= Instant::now())
    }

    /// As if so much time had gone by.
    #[cfg(test)]
    pub fn let_pass(&self, time: Duration) {
        self.left.lock().values_mut().for_each(|(_, until)| *until = until.checked_sub(time).unwrap());
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

    async fn linger(&self, node: NodeId, users: &[(UserId, Duration)]) -> Result<(), PresenceError> {
        let (mut left, now) = (self.left.lock(), Instant::now());
        left.retain(|_, (_, until)| *until > now);
        left.extend(users.iter().map(|(user, time)| (*user, (node, now + *time))));
        Ok(())
    }

    async fn find(&self, asker: NodeId, users: &[UserId]) -> Result<Vec<Found>, PresenceError> {
        let mut found = Vec::with_capacity(users.len());
        for user in users {
            let entries = self.presence.connections_of(*user).await?;
            let marks = self.marks.lock();
            let device = |entry: &Entry| Device {
                connection: entry.connection,
                node: entry.node,
                mark: marks.get(&entry.connection).copied().unwrap_or_default(),
            };
            let devices: Vec<Device> = entries.iter().map(device).collect();
            let is_certain = self.is_certain(asker, *user);
            found.push(Found { user: *user, devices, is_certain });
        }
        Ok(found)
    }

    async fn silent(&self, nodes: &[NodeId]) -> Result<Vec<Silent>, PresenceError> {
        let silent = nodes.iter().filter(|node| !self.presence.is_alive(**node));
        Ok(silent.map(|node| Silent { node: *node, since: Duration::ZERO }).collect())
    }
}
