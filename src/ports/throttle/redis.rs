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

    async fn ask(
        &self,
        name: &'static str,
        key: &str,
        limit: Limit,
        count: bool,
    ) -> Result<Verdict, ThrottleError> {
        let mut call = self.script.key(self.key(key));
        call.arg(limit.max).arg(micros(limit.window)).arg(u8::from(count));
        let asked =
            self.link.run(name, |mut connection| async move { call.invoke_async(&mut connection).await });
        let wait_us: u64 = asked.await.map_err(unavailable)?;
        Ok(match wait_us {
            0 => Verdict::Allowed,
            _ => Verdict::Refused { retry_after: Duration::from_micros(wait_us) },
        })
    }

    fn key(&self, key: &str) -> String {
        self.link.key("throttle", key)
    }
}

#[async_trait]
impl Throttle for RedisThrottle {
    async fn hit(&self, key: &str, limit: Limit) -> Result<Verdict, ThrottleError> {
        self.ask("throttle_hit", key, limit, true).await
    }

    async fn check(&self, key: &str, limit: Limit) -> Result<Verdict, ThrottleError> {
        self.ask("throttle_check", key, limit, false).await
    }

    async fn reset(&self, key: &str) -> Result<(), ThrottleError> {
        let mut call = redis::cmd("DEL");
        call.arg(self.key(key));
        let asked = self
            .link
            .run("throttle_reset", |mut connection| async move { call.query_async(&mut connection).await });
        asked.await.map_err(unavailable)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn unavailable(failure: RedisFailure) -> ThrottleError {
    ThrottleError::Unavailable(failure.to_string())
}

fn micros(window: Duration) -> u64 {
    u64::try_from(window.as_micros()).unwrap_or(u64::MAX)
}
