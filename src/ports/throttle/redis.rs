//! Counts in Redis, so that a limit holds over all nodes together.
//!
//! One script per question, with Redis' own clock: nodes whose clocks differ count alike.

use std::time::Duration;

use async_trait::async_trait;
use redis::Script;

use super::{Limit, Throttle, ThrottleError, Verdict};
use crate::ports::redis::{RedisFailure, RedisLink};

pub struct RedisThrottle {
    link: RedisLink,
    script: Script,
}

impl RedisThrottle {
    #[must_use]
    pub fn new(link: RedisLink) -> Self {
        Self { link, script: Script::new(include_str!("hit.lua")) }
    }

    async fn ask(&self, key: &str, limit: Limit, count: bool) -> Result<Verdict, ThrottleError> {
        let mut call = self.script.key(self.link.key("throttle", key));
        call.arg(limit.max).arg(micros(limit.window)).arg(u8::from(count));
        let call = &call;
        let wait_us: u64 =
            self.link.run("throttle", async |mut redis| call.invoke_async(&mut redis).await).await?;
        Ok(match wait_us {
            0 => Verdict::Allowed,
            _ => Verdict::Refused { retry_after: Duration::from_micros(wait_us) },
        })
    }
}

#[async_trait]
impl Throttle for RedisThrottle {
    async fn hit(&self, key: &str, limit: Limit) -> Result<Verdict, ThrottleError> {
        self.ask(key, limit, true).await
    }

    async fn check(&self, key: &str, limit: Limit) -> Result<Verdict, ThrottleError> {
        self.ask(key, limit, false).await
    }

    async fn reset(&self, key: &str) -> Result<(), ThrottleError> {
        let key = self.link.key("throttle", key);
        self.link
            .run("throttle_reset", async |mut redis| {
                redis::cmd("DEL").arg(&key).query_async::<()>(&mut redis).await
            })
            .await?;
        Ok(())
    }
}

fn micros(window: Duration) -> u64 {
    u64::try_from(window.as_micros()).unwrap_or(u64::MAX)
}

impl From<RedisFailure> for ThrottleError {
    fn from(failure: RedisFailure) -> Self {
        Self::Unavailable(failure.to_string())
    }
}
