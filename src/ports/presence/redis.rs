//! Presence in Redis: one hash per user, connection id → node id, and one lease key per node.

use async_trait::async_trait;
use redis::Script;

use super::{Entry, Presence, PresenceError, Renewal};
use crate::domain::ids::{NodeId, UserId};
use crate::ports::redis::{RedisFailure, RedisLink};

/// More entries than this take a connection of their own: they would hold up the events behind them.
const HANDFUL: usize = 8;

/// Renews a lease, and notes when this Redis was first seen: an empty one knows of nobody. Returns whether
/// the lease still lived.
const RENEW: &str = r"
local kept = redis.call('SET', KEYS[1], '1', 'PX', ARGV[1], 'GET')
if redis.call('EXISTS', KEYS[2]) == 0 then
  local time = redis.call('TIME')
  redis.call('SET', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000))
end
return kept and 1 or 0";

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
        if entries.len() > HANDFUL {
            let enter = async |mut redis| pipeline.query_async::<()>(&mut redis).await;
            self.link.run_aside("presence_enter_many", enter).await?;
        } else {
            let enter = async |mut redis| pipeline.query_async::<()>(&mut redis).await;
            self.link.run("presence_enter", enter).await?;
        }
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

    async fn renew_lease(&self, node: NodeId) -> Result<Renewal, PresenceError> {
        let mut call = self.renew.prepare_invoke();
        call.key(self.link.key("lease", node)).key(self.born_key()).arg(self.link.config().lease_ms);
        let call = &call;
        // Asks even while the breaker is open: this is what closes it again.
        let renew = async |mut redis| call.invoke_async::<bool>(&mut redis).await;
        let kept = self.link.probe("lease_renew", renew).await?;
        Ok(if kept { Renewal::Kept } else { Renewal::Begun })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::testing;
    use crate::domain::ids::ConnectionId;

    #[tokio::test]
    async fn many_entries_at_once_are_entered_like_few() {
        let link = RedisLink::for_test(&testing::redis_url().await, "presence-many");
        let presence = RedisPresence::new(link);
        let (node, user) = (NodeId::generate(), UserId::generate());
        let entry = |_| Entry { user, connection: ConnectionId::generate(), node };
        let entries: Vec<Entry> = (0..HANDFUL * 100).map(entry).collect();

        assert_eq!(presence.renew_lease(node).await.unwrap(), Renewal::Begun);
        assert_eq!(presence.renew_lease(node).await.unwrap(), Renewal::Kept);
        presence.enter(&entries).await.unwrap();

        assert_eq!(presence.connections_of(user).await.unwrap().len(), entries.len());
        presence.release_lease(node).await.unwrap();
        assert_eq!(presence.renew_lease(node).await.unwrap(), Renewal::Begun);
    }

    #[tokio::test]
    async fn a_redis_that_is_away_refuses_many_entries_soon() {
        let presence = RedisPresence::new(RedisLink::for_test("redis://127.0.0.1:1", "away"));
        let (node, user) = (NodeId::generate(), UserId::generate());
        let entry = |_| Entry { user, connection: ConnectionId::generate(), node };
        let entries: Vec<Entry> = (0..=HANDFUL).map(entry).collect();

        let entered = tokio::time::timeout(std::time::Duration::from_secs(10), presence.enter(&entries));

        assert!(entered.await.unwrap().is_err());
    }
}
