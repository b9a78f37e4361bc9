//! The settings of presence.

use std::time::Duration;

use anyhow::bail;
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long after the last connection of a user was closed the user is offline.
    pub grace_ms: u64,
    /// Users that one connection may watch.
    pub watch_max: usize,
    /// Users that one request may ask for.
    pub users_per_request_max: usize,
    /// How long connections that come and go are gathered before Postgres is told.
    pub gather_ms: u64,
    /// How often a node looks for users whose nodes are lost.
    pub sweep_interval_ms: u64,
    /// How often a node compares what its watchers were told with Postgres, while Redis is well.
    pub compare_interval_ms: u64,
    /// How long it takes to ask of all of them whether they may still watch.
    pub recheck_interval_ms: u64,
    /// Changes that may wait to be told to watchers here.
    pub telling_queue_batches: usize,
}

impl Config {
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        let times = [
            self.grace_ms,
            self.gather_ms,
            self.sweep_interval_ms,
            self.compare_interval_ms,
            self.recheck_interval_ms,
        ];
        if times.contains(&0) {
            bail!("presence: every …_ms must be at least 1");
        }
        if self.watch_max == 0 || self.users_per_request_max == 0 || self.telling_queue_batches == 0 {
            bail!("presence: every …_max and telling_queue_batches must be at least 1");
        }
        Ok(())
    }

    pub(super) fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }

    pub(super) fn gather(&self) -> Duration {
        Duration::from_millis(self.gather_ms)
    }

    pub(super) fn sweep_interval(&self) -> Duration {
        Duration::from_millis(self.sweep_interval_ms)
    }

    pub(super) fn compare_interval(&self) -> Duration {
        Duration::from_millis(self.compare_interval_ms)
    }

    pub(super) fn recheck_interval(&self) -> Duration {
        Duration::from_millis(self.recheck_interval_ms)
    }
}
