//! How to reach Redis, and how long to wait for it.

use anyhow::bail;
use secrecy::SecretString;
use serde::Deserialize;

use super::server;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `redis://[user:password@]host:port/db`, or `rediss://` for TLS. With sentinels, host and port are
    /// those that they name.
    pub url: SecretString,
    /// `redis://[user:password@]host:26379` of each sentinel; empty without Sentinel.
    pub sentinels: Vec<SecretString>,
    /// What the sentinels call the master.
    pub sentinel_master: String,
    /// Begins every key and channel, so that several clusters can share one Redis.
    pub key_prefix: String,
    /// How long one command may take.
    pub command_timeout_ms: u64,
    /// How long connecting may take.
    pub connect_timeout_ms: u64,
    /// After a failed command, how long others fail at once instead of waiting.
    pub breaker_ms: u64,
    /// How long a node's presence stays valid without a sign of life.
    pub lease_ms: u64,
    /// After Redis came back empty or hung, or a node was lost, how long "nobody is connected" is not believed.
    pub warmup_ms: u64,
}

impl Config {
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.key_prefix.is_empty() || self.key_prefix.contains([':', ' ', '\n']) {
            bail!("redis.key_prefix must be a word without colons and spaces");
        }
        server::check(self)?;
        if self.command_timeout_ms == 0 || self.connect_timeout_ms == 0 {
            bail!("redis.command_timeout_ms and redis.connect_timeout_ms must be at least 1");
        }
        if self.lease_ms < 3_000 {
            bail!("redis.lease_ms must be at least 3000: a lease is renewed once a second, and may miss one");
        }
        if self.warmup_ms < 2_000 {
            bail!("redis.warmup_ms must be at least 2000: the nodes need it to say again who is connected");
        }
        Ok(())
    }

    /// How long the nodes' signs of life may stop until Redis counts as having hung.
    #[must_use]
    pub fn stall_ms(&self) -> u64 {
        self.lease_ms / 2
    }
}
