//! The connections of this node, by user.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::delivery::mailbox::{Farewell, Mailbox, Numbered};
use crate::delivery::turnover::Turnover;
use crate::domain::ids::{ConnectionId, NodeId, SessionId, UserId};
use crate::ports::broker::Envelope;
use crate::ports::presence::Entry;

const SHARDS: usize = 64;

type Shard = RwLock<HashMap<UserId, Vec<Arc<Mailbox>>>>;

/// Sharded, so that a lookup rarely waits for a connect on the other core. No lock is held while a mailbox
/// is written to.
pub struct Registry {
    shards: Vec<Shard>,
    hasher: RandomState,
    connections: AtomicUsize,
    turnover: Turnover,
}

impl Default for Registry {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        let (connections, turnover) = (AtomicUsize::new(0), Turnover::default());
        Self { shards, hasher: RandomState::new(), connections, turnover }
    }
}

impl Registry {
    pub fn insert(&self, mailbox: &Arc<Mailbox>) {
        let inserted = self.insert_within(mailbox, usize::MAX);
        debug_assert!(inserted, "nobody has so many connections");
    }

    /// Adds a connection, unless its user has `max` already. Those of the same device do not count: the new
    /// one replaces them. Returns whether it was added. Of many at once exactly `max` are.
    #[must_use]
    pub fn insert_within(&self, mailbox: &Arc<Mailbox>, max: usize) -> bool {
        let stays = |other: &&Arc<Mailbox>| mailbox.device.is_none() || other.device != mailbox.device;
        let mut shard = self.shard(mailbox.user).write();
        let of_user = shard.get(&mailbox.user).map_or(0, |others| others.iter().filter(stays).count());
        if of_user >= max {
            return false;
        }
        shard.entry(mailbox.user).or_default().push(Arc::clone(mailbox));
        drop(shard);
        self.connections.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Ends the connections of a device that has a newer one. Ids grow with time, so a message that comes
    /// late never ends the newer one.
    pub fn replace_device(&self, user: UserId, device: &str, newer: ConnectionId) {
        for mailbox in self.connections_of(user) {
            if mailbox.device.as_deref() == Some(device) && mailbox.connection < newer {
                mailbox.close(Farewell::Replaced);
            }
        }
    }

    pub fn remove(&self, mailbox: &Mailbox) {
        let mut shard = self.shard(mailbox.user).write();
        let Some(of_user) = shard.get_mut(&mailbox.user) else { return };
        let before = of_user.len();
        of_user.retain(|other| other.connection != mailbox.connection);
        let removed = before - of_user.len();
        if of_user.is_empty() {
            shard.remove(&mailbox.user);
        }
        drop(shard);
        self.connections.fetch_sub(removed, Ordering::Relaxed);
        if removed > 0 {
            self.turnover.note(mailbox.user);
        }
    }

    /// Whose connections came or went.
    #[must_use]
    pub fn turnover(&self) -> &Turnover {
        &self.turnover
    }

    #[must_use]
    pub fn connections_of(&self, user: UserId) -> Vec<Arc<Mailbox>> {
        self.shard(user).read().get(&user).cloned().unwrap_or_default()
    }

    #[must_use]
    pub fn contains(&self, user: UserId, connection: ConnectionId) -> bool {
        self.connections_of(user).iter().any(|mailbox| mailbox.connection == connection)
    }

    /// Leaves the event with each of the user's connections here. Returns how many there are.
    pub fn deliver(&self, envelope: &Envelope) -> usize {
        let connections = self.connections_of(envelope.user);
        for mailbox in &connections {
            mailbox.offer(Numbered {
                id: envelope.event,
                seq: envelope.seq,
                frame: envelope.frame.clone(),
                trace: envelope.trace,
            });
        }
        connections.len()
    }

    /// Ends the connections that were opened with a session.
    pub fn close_session(&self, user: UserId, session: SessionId) {
        for mailbox in self.connections_of(user) {
            if mailbox.session == session {
                mailbox.close(Farewell::Revoked);
            }
        }
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// How many users have one.
    #[must_use]
    pub fn users(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Who they are, at some moment each.
    #[must_use]
    pub fn all_users(&self) -> Vec<UserId> {
        self.shards.iter().flat_map(|shard| shard.read().keys().copied().collect::<Vec<_>>()).collect()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All connections, at some moment each.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Mailbox>> {
        let mut all = Vec::with_capacity(self.len());
        for shard in &self.shards {
            all.extend(shard.read().values().flatten().cloned());
        }
        all
    }

    /// All connections, as presence should know them.
    #[must_use]
    pub fn entries(&self, node: NodeId) -> Vec<Entry> {
        self.all().iter().map(|mailbox| mailbox.entry(node)).collect()
    }

    fn shard(&self, user: UserId) -> &Shard {
        let hash = usize::try_from(self.hasher.hash_one(user) % SHARDS as u64)
            .expect("a number below the count of shards fits");
        &self.shards[hash]
    }
}
