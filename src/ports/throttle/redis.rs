//! Counts in Redis, so that a limit holds over all nodes together.
//!
//! One script per question, with Redis' own clock: nodes whose clocks differ count alike.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::ConnectionManager;
use redis::{RedisResult, Script};

use super::{Limit, Throttle, ThrottleError, Verdict};

pub struct RedisThrottle {
    connection: ConnectionManager,
    key_prefix: String,
    deadline: Duration,
    script: Script,
}

impl RedisThrottle {
    /// `key_prefix` stands before every key; each answer is waited for at most `deadline_ms`.
    #[must_use]
    pub fn new(connection: ConnectionManager, key_prefix: &str, deadline_ms: u64) -> Self {
        Self {
            connection,
            key_prefix: format!("{key_prefix}throttle:"),
            deadline: Duration::from_millis(deadline_ms),
            script: Script::new(include_str!("hit.lua")),
        }
    }

    async fn ask(&self, key: &str, limit: Limit, count: bool) -> Result<Verdict, ThrottleError> {
        let mut connection = self.connection.clone();
        let mut call = self.script.key(format!("{}{key}", self.key_prefix));
        call.arg(limit.max).arg(micros(limit.window)).arg(u8::from(count));
        let wait_us: u64 = self.in_time(call.invoke_async(&mut connection)).await?;
        Ok(match wait_us {
            0 => Verdict::Allowed,
            _ => Verdict::Refused { retry_after: Duration::from_micros(wait_us) },
        })
    }

    async fn in_time<T>(&self, call: impl Future<Output = RedisResult<T>>) -> Result<T, ThrottleError> {
        match tokio::time::timeout(self.deadline, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(ThrottleError::Unavailable(error.to_string())),
            Err(_) => Err(ThrottleError::Unavailable("no answer in time".to_owned())),
        }
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
        let mut connection = self.connection.clone();
        let mut call = redis::cmd("DEL");
        call.arg(format!("{}{key}", self.key_prefix));
        self.in_time(call.query_async(&mut connection)).await
    }
}

fn micros(window: Duration) -> u64 {
    u64::try_from(window.as_micros()).unwrap_or(u64::MAX)
}
