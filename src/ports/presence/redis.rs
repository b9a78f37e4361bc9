//! Presence in Redis: one hash per user, connection id → node id, and one lease key per node.

use async_trait::async_trait;
use redis::{Pipeline, Script};

use super::{Entry, Presence, PresenceError, Renewal};
use crate::domain::ids::{NodeId, UserId};
use crate::ports::redis::{BELIEF, RedisFailure, RedisLink};

/// More entries than this take a connection of their own: they would hold up the events behind them.
pub(super) const HANDFUL: usize = 8;

pub struct RedisPresence {
    link: RedisLink,
    renew: Script,
    read: Script,
}

impl RedisPresence {
    #[must_use]
    pub fn new(link: RedisLink) -> Self {
        let script = |own: &str| Script::new(&[BELIEF, own].concat());
        Self { link, renew: script(include_str!("renew.lua")), read: script(include_str!("read.lua")) }
    }

    fn hash(&self, user: UserId) -> String {
        self.link.key("presence", user)
    }

    /// Removes entries, and does `besides` for each in the same round trip.
    async fn remove(
        &self,
        name: &'static str,
        entries: &[Entry],
        besides: impl Fn(&mut Pipeline, &Entry),
    ) -> Result<(), PresenceError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for entry in entries {
            pipeline.hdel(self.hash(entry.user), entry.connection.to_string()).ignore();
            besides(&mut pipeline, entry);
        }
        let pipeline = &pipeline;
        self.link.run(name, async |mut redis| pipeline.query_async::<()>(&mut redis).await).await?;
        Ok(())
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
        self.remove("presence_leave", entries, |_, _| {}).await
    }

    async fn depart(&self, entries: &[Entry]) -> Result<(), PresenceError> {
        let warmup_ms = self.link.config().warmup_ms;
        self.remove("presence_depart", entries, |pipeline, entry| {
            if warmup_ms > 0 {
                pipeline.pset_ex(self.link.key("moving", entry.user), 1, warmup_ms).ignore();
            }
        })
        .await
    }

    async fn connections_of(&self, user: UserId) -> Result<Vec<Entry>, PresenceError> {
        let config = self.link.config();
        let mut call = self.read.prepare_invoke();
        call.key(self.hash(user)).key(self.link.pulse_key()).key(self.link.key("moving", user));
        call.arg(&config.key_prefix).arg(config.stall_ms()).arg(config.warmup_ms);
        let call = &call;
        let read = async |mut redis| call.invoke_async::<Option<Vec<(String, String)>>>(&mut redis).await;
        let Some(fields) = self.link.run("presence_read", read).await? else {
            return Err(PresenceError::Unavailable("it lost its memory, or the user, a moment ago".into()));
        };
        let entry = |(connection, node): (String, String)| {
            Some(Entry { user, connection: connection.parse().ok()?, node: node.parse().ok()? })
        };
        Ok(fields.into_iter().filter_map(entry).collect())
    }

    async fn renew_lease(&self, node: NodeId) -> Result<Renewal, PresenceError> {
        let config = self.link.config();
        let mut call = self.renew.prepare_invoke();
        call.key(self.link.key("lease", node)).key(self.link.pulse_key());
        call.arg(config.lease_ms).arg(config.warmup_ms).arg(config.stall_ms());
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
