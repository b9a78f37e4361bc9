//! What one can do with a conversation: see it, change it, delete it. How it is made is in `opening`, who is in it in
//! `people`.
//!
//! Each change is one transaction: lock, read, decide, write. Those concerned are told after its commit.

use std::sync::Arc;
use std::time::Duration;

use crate::db::{PgConnection, PgPool};
use crate::delivery::dispatcher::Dispatcher;
use crate::domain::clock::SharedClock;
use crate::domain::ids::{ChannelId, UserId};
use crate::edge::http::paging;
use crate::features::channels::Config;
use crate::features::channels::access::{Access, Operation, access, access_locked};
use crate::features::channels::error::ChannelsError;
use crate::features::channels::followers::{Followers, Notice};
use crate::features::channels::model::{Channel, ChannelChange, Kind, Role};
use crate::features::channels::repository::{self, members};
use crate::ports::throttle::{Limit, Throttle};

mod opening;
mod people;

/// What the service is made of.
pub struct Settings {
    pub pool: PgPool,
    pub clock: SharedClock,
    pub dispatcher: Dispatcher,
    pub throttle: Arc<dyn Throttle>,
    pub followers: Box<dyn Followers>,
    pub config: Config,
}

pub struct Service {
    pool: PgPool,
    clock: SharedClock,
    dispatcher: Dispatcher,
    throttle: Arc<dyn Throttle>,
    followers: Box<dyn Followers>,
    config: Config,
}

impl Service {
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        let Settings { pool, clock, dispatcher, throttle, followers, config } = settings;
        Arc::new(Self { pool, clock, dispatcher, throttle, followers, config })
    }

    pub async fn show(&self, caller: UserId, channel: ChannelId) -> Result<Channel, ChannelsError> {
        let access = access(&self.pool, caller, channel).await?.ok_or(ChannelsError::NotFound)?;
        access.allows(Operation::View)?;
        repository::find(&self.pool, channel).await?.ok_or(ChannelsError::NotFound)
    }

    /// One page of what the caller is in and, unless `only_mine`, of what is public, the newest first; and whether there
    /// are more.
    pub async fn list(
        &self,
        caller: UserId,
        only_mine: bool,
        before: Option<ChannelId>,
        limit: u32,
    ) -> Result<(Vec<Channel>, bool), ChannelsError> {
        let mut found =
            repository::list(&self.pool, caller, only_mine, before, paging::one_more(limit)).await?;
        let has_more = paging::cut(&mut found, limit);
        Ok((found, has_more))
    }

    pub async fn update(
        &self,
        caller: UserId,
        channel: ChannelId,
        change: ChannelChange,
    ) -> Result<Channel, ChannelsError> {
        self.count_change(caller).await?;
        let mut tx = self.pool.begin().await?;
        let (access, mut channel) = lock(&mut tx, caller, channel).await?;
        access.allows(Operation::Update)?;
        if access.kind == Kind::Group && change.is_private == Some(false) {
            return Err(ChannelsError::AlwaysPrivate);
        }
        if let Some(name) = change.name {
            channel.name = Some(name);
        }
        if let Some(description) = change.description {
            channel.description = description;
        }
        if let Some(is_private) = change.is_private {
            channel.is_private = is_private;
        }
        channel.updated_at = self.clock.now();
        repository::update(&mut tx, &channel).await?;
        tx.commit().await?;

        self.followers.tell(channel.id, &Notice::updated(&channel));
        count("updated");
        Ok(channel)
    }

    pub async fn delete(&self, caller: UserId, channel: ChannelId) -> Result<(), ChannelsError> {
        self.count_change(caller).await?;
        let mut tx = self.pool.begin().await?;
        let (access, _) = lock(&mut tx, caller, channel).await?;
        access.allows(Operation::Delete)?;
        let now = self.clock.now();
        repository::mark_deleted(&mut tx, channel, now).await?;
        members::delete_all(&mut tx, channel).await?;
        tx.commit().await?;

        self.followers.close(channel, &Notice::deleted(channel, caller, now));
        count("deleted");
        Ok(())
    }

    /// Counts people whom the caller takes into something, whatever comes of it: each may be woken.
    async fn count_invitations(&self, caller: UserId, people: usize) -> Result<(), ChannelsError> {
        let limit = Limit {
            max: self.config.invitations_per_user_max,
            window: Duration::from_secs(self.config.invitations_window_seconds.into()),
        };
        for _ in 0..people {
            self.hit("invitation", caller, limit).await?;
        }
        Ok(())
    }

    /// Counts a change that all who are there may hear of, whatever comes of it.
    async fn count_change(&self, caller: UserId) -> Result<(), ChannelsError> {
        let limit = Limit { max: self.config.changes_per_minute_max, window: Duration::from_mins(1) };
        self.hit("channel_change", caller, limit).await
    }

    async fn hit(&self, scope: &'static str, caller: UserId, limit: Limit) -> Result<(), ChannelsError> {
        let verdict = self.throttle.hit(&format!("{scope}:{caller}"), limit).await?;
        verdict.allowed(scope).map_err(|retry_after| ChannelsError::TooMany { retry_after })
    }

    /// Takes people in who are locked, in a conversation that is, too. Whoever is in it already stays what they are.
    /// Returns how many are new.
    async fn take_in(
        &self,
        conn: &mut PgConnection,
        channel: &mut Channel,
        users: &[UserId],
        role: Role,
    ) -> Result<usize, ChannelsError> {
        if users.is_empty() {
            return Ok(0);
        }
        let new = members::insert(conn, channel.id, users, role, self.clock.now()).await?;
        if new.is_empty() {
            return Ok(0);
        }
        channel.member_count += u32::try_from(new.len()).unwrap_or(u32::MAX);
        if channel.member_count > self.config.members_max {
            count_refused("members");
            return Err(ChannelsError::Full);
        }
        if members::is_any_beyond(conn, &new, self.config.memberships_per_user_max).await? {
            count_refused("memberships");
            return Err(ChannelsError::TooManyMemberships);
        }
        Ok(new.len())
    }
}

/// The caller's access, and the conversation, which is locked until the transaction ends.
async fn lock(
    conn: &mut PgConnection,
    caller: UserId,
    channel: ChannelId,
) -> Result<(Access, Channel), ChannelsError> {
    let access = access_locked(conn, caller, channel).await?.ok_or(ChannelsError::NotFound)?;
    // What is not there for the caller is not read either.
    access.allows(Operation::View)?;
    let channel = repository::find(conn, channel).await?.ok_or(ChannelsError::NotFound)?;
    Ok((access, channel))
}

fn count(change: &'static str) {
    metrics::counter!("fanlight_channel_changes_total", "change" => change).increment(1);
}

fn count_refused(limit: &'static str) {
    metrics::counter!("fanlight_channel_refusals_total", "limit" => limit).increment(1);
}
