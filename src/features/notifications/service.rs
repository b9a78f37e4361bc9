//! Shows and changes what people want to be told of.

use std::sync::Arc;

use crate::db::{PgConnection, PgPool};
use crate::domain::clock::SharedClock;
use crate::domain::ids::{ChannelId, UserId};
use crate::edge::http::paging;
use crate::features::channels::{Operation, access};
use crate::features::notifications::config::Config;
use crate::features::notifications::error::NotificationsError;
use crate::features::notifications::model::{General, GeneralChange, Special, SpecialOf};
use crate::features::notifications::repository::preferences;
use crate::ports::throttle::Throttle;

pub struct Service {
    pool: PgPool,
    pub(super) clock: SharedClock,
    throttle: Arc<dyn Throttle>,
    config: Config,
}

impl Service {
    #[must_use]
    pub fn new(pool: PgPool, clock: SharedClock, throttle: Arc<dyn Throttle>, config: Config) -> Arc<Self> {
        Arc::new(Self { pool, clock, throttle, config })
    }

    pub async fn general(&self, user: UserId) -> Result<General, NotificationsError> {
        Ok(preferences::of(&self.pool, user).await?)
    }

    /// Changes what the user wants everywhere. What waits is decided anew.
    pub async fn change(&self, user: UserId, change: GeneralChange) -> Result<General, NotificationsError> {
        let mut tx = self.begin(user).await?;
        let before = preferences::of(&mut *tx, user).await?;
        let after = change.of(before);
        if after == before {
            return Ok(after);
        }
        preferences::set(&mut tx, user, &after).await?;
        if after.all != before.all {
            preferences::listen(&mut tx, user, None).await?;
        }
        preferences::decide_anew(&mut tx, user, self.clock.now()).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// One page of the conversations of which the user wants something in particular, and whether there are more.
    pub async fn specials(
        &self,
        user: UserId,
        after: Option<ChannelId>,
        limit: u32,
    ) -> Result<(Vec<SpecialOf>, bool), NotificationsError> {
        let mut found = preferences::special(&self.pool, user, None, after, paging::one_more(limit)).await?;
        let has_more = paging::cut(&mut found, limit);
        Ok((found, has_more))
    }

    pub async fn special(&self, user: UserId, channel: ChannelId) -> Result<Special, NotificationsError> {
        let mut conn = self.pool.acquire().await?;
        permit(&mut conn, user, channel).await?;
        let found = preferences::special(&mut *conn, user, Some(channel), None, 1).await?;
        Ok(found.first().map(|(_, special)| *special).unwrap_or_default())
    }

    /// Replaces what the user wants of one conversation. What waits is decided anew.
    pub async fn set_special(
        &self,
        user: UserId,
        channel: ChannelId,
        special: Special,
    ) -> Result<(), NotificationsError> {
        let mut tx = self.begin(user).await?;
        permit(&mut tx, user, channel).await?;
        preferences::set_special(&mut tx, user, channel, &special).await?;
        preferences::listen(&mut tx, user, Some(channel)).await?;
        preferences::decide_anew(&mut tx, user, self.clock.now()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Begins a change, with the user locked.
    async fn begin(
        &self,
        user: UserId,
    ) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, NotificationsError> {
        let key = format!("notification_preferences:{user}");
        let verdict = self.throttle.hit(&key, self.config.changes()).await?;
        verdict
            .allowed("notification_preferences")
            .map_err(|retry_after| NotificationsError::TooMany { retry_after })?;
        let mut tx = self.pool.begin().await?;
        if !preferences::lock_user(&mut tx, user).await? {
            return Err(NotificationsError::NoAccount);
        }
        Ok(tx)
    }
}

/// Members only.
async fn permit(conn: &mut PgConnection, user: UserId, channel: ChannelId) -> Result<(), NotificationsError> {
    let access = access(conn, user, channel).await?.ok_or(NotificationsError::NotFound)?;
    Ok(access.allows(Operation::Read)?)
}
