//! Presence in Redis: one hash per user, connection id → node id, and one lease key per node.

use async_trait::async_trait;
use redis::Script;

use super::{Entry, Presence, PresenceError};
use crate::domain::ids::{NodeId, UserId};
use crate::ports::redis::{RedisFailure, RedisLink};

/// Renews a lease, and notes when this Redis was first seen: an empty one knows of nobody.
const RENEW: &str = r"
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
if redis.call('EXISTS', KEYS[2]) == 0 then
  local time = redis.call('TIME')
  redis.call('SET', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000))
end";

pub struct RedisPresence {
    link: RedisLink,
    renew: Script,
}

impl RedisPresence {
    #[must_use]
    pub fn new(link: RedisLink) -> Self {
        Self { link, renew: Script::new(RENEW) }
    }

    fn hash(&self, user: UserId) -> String {
        self.link.key("presence", user)
    }
}

#[async_trait]
impl Presence for RedisPresence {
    async fn enter(&self, entries: &[Entry]) -> Result<(), PresenceError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for entry in entries {
            pipeline
                .hset(self.hash(entry.user), entry.connection.to_string(), entry.node.to_string())
                .ignore();
        }
        let pipeline = &pipeline;
        self.link
            .run("presence_enter", async |mut redis| pipeline.query_async::<()>(&mut redis).await)
            .await?;
        Ok(())
    }

    async fn leave(&self, entries: &[Entry]) -> Result<(), PresenceError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for entry in entries {
            pipeline.hdel(self.hash(entry.user), entry.connection.to_string()).ignore();
        }
        let pipeline = &pipeline;
        self.link
            .run("presence_leave", async |mut redis| pipeline.query_async::<()>(&mut redis).await)
            .await?;
        Ok(())
    }

    async fn connections_of(&self, user: UserId) -> Result<Vec<Entry>, PresenceError> {
        let hash = self.hash(user);
        let fields: Vec<(String, String)> = self
            .link
            .run("presence_read", async |mut redis| {
                redis::cmd("HGETALL").arg(&hash).query_async(&mut redis).await
            })
            .await?;
        let entries: Vec<Entry> = fields
            .into_iter()
            .filter_map(|(connection, node)| {
                Some(Entry { user, connection: connection.parse().ok()?, node: node.parse().ok()? })
            })
            .collect();
        if entries.is_empty() {
            return Ok(entries);
        }
        let mut leases = redis::cmd("MGET");
        for entry in &entries {
            leases.arg(self.link.key("lease", entry.node));
        }
        let alive: Vec<Option<String>> =
            self.link.run("presence_leases", async |mut redis| leases.query_async(&mut redis).await).await?;
        let (living, void): (Vec<_>, Vec<_>) =
            entries.into_iter().zip(alive).partition(|(_, lease)| lease.is_some());
        if !void.is_empty() {
            self.leave(&void.into_iter().map(|(entry, _)| entry).collect::<Vec<_>>()).await?;
        }
        Ok(living.into_iter().map(|(entry, _)| entry).collect())
    }

    async fn renew_lease(&self, node: NodeId) -> Result<(), PresenceError> {
        let mut call = self.renew.prepare_invoke();
        call.key(self.link.key("lease", node)).key(self.born_key()).arg(self.link.config().lease_ms);
        let call = &call;
        // Asks even while the breaker is open: this is what closes it again.
        self.link.probe("lease_renew", async |mut redis| call.invoke_async::<()>(&mut redis).await).await?;
        Ok(())
    }

    async fn release_lease(&self, node: NodeId) -> Result<(), PresenceError> {
        let lease = self.link.key("lease", node);
        self.link
            .run("lease_release", async |mut redis| {
                redis::cmd("DEL").arg(&lease).query_async::<()>(&mut redis).await
            })
            .await?;
        Ok(())
    }
}

impl RedisPresence {
    fn born_key(&self) -> String {
        format!("{}:born", self.link.config().key_prefix)
    }
}

impl From<RedisFailure> for PresenceError {
    fn from(failure: RedisFailure) -> Self {
        Self::Unavailable(failure.to_string())
    }
}
