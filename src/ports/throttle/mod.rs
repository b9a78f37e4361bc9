//! Counts attempts against a limit, over all nodes.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

#[cfg(test)]
pub mod contract;
mod fallback;
mod memory;
mod redis;

pub use fallback::FallbackThrottle;
pub use memory::MemoryThrottle;
pub use redis::RedisThrottle;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How many keys a node remembers while it counts by itself.
    pub local_keys_max: usize,
}

impl Config {
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.local_keys_max > 0, "throttle.local_keys_max must be at least 1");
        Ok(())
    }
}

/// At most `max` hits in any window of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub max: u32,
    pub window: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    Refused { retry_after: Duration },
}

impl Verdict {
    /// Counts a refusal, by which limit the attempt was over.
    ///
    /// # Errors
    /// After which time to come again.
    pub fn allowed(self, scope: &'static str) -> Result<(), Duration> {
        match self {
            Self::Allowed => Ok(()),
            Self::Refused { retry_after } => {
                metrics::counter!("fanlight_throttled_total", "scope" => scope).increment(1);
                Err(retry_after)
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ThrottleError {
    /// The shared counter did not answer in time; whether it counted is unknown.
    #[error("the throttle is unavailable: {0}")]
    Unavailable(String),
}

#[async_trait]
pub trait Throttle: Send + Sync {
    /// Counts one hit on `key`, unless the limit is already reached. Atomic: of N parallel hits at most
    /// `max` are allowed.
    async fn hit(&self, key: &str, limit: Limit) -> Result<Verdict, ThrottleError>;

    /// Whether a hit would be allowed now, without counting one.
    async fn check(&self, key: &str, limit: Limit) -> Result<Verdict, ThrottleError>;

    /// Forgets all hits on `key`.
    async fn reset(&self, key: &str) -> Result<(), ThrottleError>;
}
