//! Registers devices, lists them, takes them back.

use std::sync::Arc;

use crate::db::PgPool;
use crate::delivery::claims;
use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::ids::UserId;
use crate::edge::http::{ErrorCode, Problem};
use crate::features::devices::Config;
use crate::features::devices::model::{Device, Registration, Retirement};
use crate::features::devices::repository::{self, Login};

#[derive(Debug, thiserror::Error)]
pub enum DevicesError {
    /// A genuine token whose login has ended, or whose account does not exist any more.
    #[error("the login has ended")]
    LoginEnded,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<DevicesError> for Problem {
    fn from(error: DevicesError) -> Self {
        match error {
            DevicesError::LoginEnded => ErrorCode::Unauthenticated.into(),
            DevicesError::Database(error) => error.into(),
        }
    }
}

pub struct Service {
    pub(super) pool: PgPool,
    pub(super) clock: SharedClock,
    pub(super) config: Config,
}

impl Service {
    #[must_use]
    pub fn new(pool: PgPool, clock: SharedClock, config: Config) -> Arc<Self> {
        Arc::new(Self { pool, clock, config })
    }

    /// Makes the device the one that this token wakes. Returns it, and whether it is new.
    pub async fn register(&self, registration: &Registration) -> Result<(Device, bool), DevicesError> {
        let mut tx = self.pool.begin().await?;
        let session = match repository::lock_login(&mut tx, registration.session).await? {
            Login::Active => Some(registration.session),
            Login::Unknown => None,
            // Its logout has retired its devices already; this one would outlive it.
            Login::Revoked => return Err(DevicesError::LoginEnded),
        };
        if !repository::lock(&mut tx, registration).await? {
            return Err(DevicesError::LoginEnded);
        }
        let now = self.clock.now();
        let moved = repository::retire_elsewhere(&mut tx, registration, now).await?;
        let (device, created) = repository::upsert(&mut tx, registration, session, now).await?;
        let excess =
            repository::retire_excess(&mut tx, registration.user, device.id, self.config.active_max, now)
                .await?;
        repository::delete_excess(&mut tx, registration.user, self.config.inactive_max).await?;
        tx.commit().await?;

        // Not in the transaction: it would lock events after devices, and a push locks them the other way. If this is
        // lost, the sweeper looks at such events now and then.
        if let Err(error) = claims::wake(&self.pool, &[registration.user]).await {
            tracing::warn!(%error, "what waits for a device is not pushed to the new one at once");
        }
        count_retired(Retirement::Moved, moved);
        count_retired(Retirement::DeviceLimit, excess);
        Ok((device, created))
    }

    /// Takes a device back; one that is not there is taken back already.
    pub async fn remove(&self, user: UserId, device_id: &str) -> Result<(), DevicesError> {
        if device_id.contains('\0') {
            return Ok(()); // Postgres cannot even hold such a text.
        }
        let removed = repository::remove(&self.pool, user, device_id, self.clock.now()).await?;
        count_retired(Retirement::Removed, u64::from(removed));
        Ok(())
    }

    /// The user's devices, the newest registration first.
    pub async fn list(&self, user: UserId, include_inactive: bool) -> Result<Vec<Device>, DevicesError> {
        Ok(repository::list(&self.pool, user, include_inactive).await?)
    }
}

pub(super) fn count_retired(why: Retirement, count: u64) {
    metrics::counter!("fanlight_device_tokens_retired_total", "reason" => why.as_str()).increment(count);
}

/// Who has not registered since this moment is not pushed to any more.
pub(super) fn seen_since(now: Timestamp, stale_after_days: u32) -> Timestamp {
    now - chrono::Duration::days(stale_after_days.into())
}
