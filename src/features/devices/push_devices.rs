//! Answers delivery's question: which devices of this user can be woken?

use std::collections::HashSet;

use async_trait::async_trait;

use crate::db::PgPool;
use crate::delivery::device_tokens::{DeviceToken, DeviceTokens};
use crate::domain::clock::SharedClock;
use crate::domain::ids::UserId;
use crate::features::devices::service::seen_since;
use crate::features::devices::{Config, repository};

pub struct PushDevices {
    pool: PgPool,
    clock: SharedClock,
    stale_after_days: u32,
}

impl PushDevices {
    #[must_use]
    pub fn new(pool: PgPool, clock: SharedClock, config: &Config) -> Self {
        Self { pool, clock, stale_after_days: config.stale_after_days }
    }
}

#[async_trait]
impl DeviceTokens for PushDevices {
    async fn active(&self, user: UserId) -> Result<Vec<DeviceToken>, sqlx::Error> {
        // Not left to the job alone, which may come by an hour late.
        let seen_after = seen_since(self.clock.now(), self.stale_after_days);
        repository::pushable(&self.pool, user, seen_after).await
    }

    async fn reachable(&self, users: &[UserId]) -> Result<HashSet<UserId>, sqlx::Error> {
        let seen_after = seen_since(self.clock.now(), self.stale_after_days);
        repository::with_pushable(&self.pool, users, seen_after).await
    }

    async fn retire(&self, token: &DeviceToken, reason: &'static str) -> Result<bool, sqlx::Error> {
        let retired = repository::retire_dead(&self.pool, token, reason, self.clock.now()).await?;
        if retired {
            metrics::counter!("fanlight_device_tokens_retired_total", "reason" => "token_dead").increment(1);
        }
        Ok(retired)
    }
}
