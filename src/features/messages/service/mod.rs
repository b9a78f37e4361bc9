//! Writes, changes and shows messages.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::db::{PgConnection, PgPool};
use crate::delivery::dispatcher::Dispatcher;
use crate::domain::clock::SharedClock;
use crate::domain::ids::{ChannelId, MessageId, UserId};
use crate::features::channels::{Access, Operation, access};
use crate::features::messages::audience::Audience;
use crate::features::messages::config::Config;
use crate::features::messages::error::MessagesError;
use crate::features::messages::model::Message;
use crate::features::messages::repository;
use crate::ports::throttle::{Limit, Throttle};

mod changing;
mod reading;
mod sending;

/// What the service is made of.
pub struct Settings {
    pub pool: PgPool,
    pub clock: SharedClock,
    pub dispatcher: Dispatcher,
    pub audience: Box<dyn Audience>,
    pub throttle: Arc<dyn Throttle>,
    /// Tells whoever notifies the absent that something was written that may concern them.
    pub noticed: Arc<Notify>,
    pub config: Config,
}

pub struct Service {
    pool: PgPool,
    clock: SharedClock,
    dispatcher: Dispatcher,
    audience: Box<dyn Audience>,
    throttle: Arc<dyn Throttle>,
    noticed: Arc<Notify>,
    config: Config,
}

impl Service {
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        let Settings { pool, clock, dispatcher, audience, throttle, noticed, config } = settings;
        Arc::new(Self { pool, clock, dispatcher, audience, throttle, noticed, config })
    }

    /// One message, deleted or not.
    pub async fn find(&self, user: UserId, message: MessageId) -> Result<Message, MessagesError> {
        let message = self.existing(message).await?;
        self.permit(user, message.channel, Operation::Read).await?;
        Ok(message)
    }

    async fn existing(&self, message: MessageId) -> Result<Message, MessagesError> {
        repository::find(&self.pool, message).await?.ok_or(MessagesError::NotFound)
    }

    /// Whether the user may do this there, as far as reading goes: what is written is decided under the lock.
    async fn permit(
        &self,
        user: UserId,
        channel: ChannelId,
        operation: Operation,
    ) -> Result<(), MessagesError> {
        decide(access(&self.pool, user, channel).await?, operation)
    }

    /// Counts something that the user writes in the conversation.
    async fn count_write(&self, user: UserId, channel: ChannelId) -> Result<(), MessagesError> {
        self.count(&format!("message:{user}:{channel}"), self.config.writes(), "message").await
    }

    async fn count(&self, key: &str, limit: Limit, scope: &'static str) -> Result<(), MessagesError> {
        let verdict = self.throttle.hit(key, limit).await?;
        verdict.allowed(scope).map_err(|retry_after| MessagesError::TooMany { retry_after })
    }
}

fn decide(access: Option<Access>, operation: Operation) -> Result<(), MessagesError> {
    let access = access.ok_or(MessagesError::NotFound)?;
    Ok(access.allows(operation)?)
}

/// As it is now that its conversation is locked.
async fn locked(conn: &mut PgConnection, message: MessageId) -> Result<Message, MessagesError> {
    let message = repository::find(conn, message).await?.ok_or(MessagesError::NotFound)?;
    if message.deleted_at.is_some() { Err(MessagesError::Deleted) } else { Ok(message) }
}
