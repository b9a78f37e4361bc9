//! Topics over Redis pub/sub: a channel each, on the connection on which the node hears its inbox, too.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use redis::RedisResult;
use redis::aio::PubSubSink;
use tokio::time::timeout;

use super::RedisBroker;
use crate::domain::ids::ChannelId;
use crate::ports::broker::{BrokerError, TopicMessage, Topics};

/// A subscription that stands, until it is dropped.
pub struct Standing<'a>(&'a Mutex<Option<PubSubSink>>);

impl<'a> Standing<'a> {
    pub fn new(place: &'a Mutex<Option<PubSubSink>>, subscription: PubSubSink) -> Self {
        *place.lock() = Some(subscription);
        Self(place)
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

impl RedisBroker {
    /// The topic that a channel is of.
    pub(super) fn topic(&self, channel: &str) -> Option<ChannelId> {
        channel.strip_prefix(&self.topics)?.parse().ok()
    }

    fn channel(&self, topic: ChannelId) -> String {
        format!("{}{topic}", self.topics)
    }

    fn channels(&self, topics: &[ChannelId]) -> Vec<String> {
        topics.iter().map(|topic| self.channel(*topic)).collect()
    }

    fn subscription(&self) -> Result<PubSubSink, BrokerError> {
        let standing = self.subscription.lock().clone();
        standing.ok_or_else(|| BrokerError::Unavailable("no subscription stands".into()))
    }

    async fn confirmed(&self, change: impl Future<Output = RedisResult<()>>) -> Result<(), BrokerError> {
        let deadline = Duration::from_millis(self.link.config().command_timeout_ms);
        match timeout(deadline, change).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(BrokerError::Unavailable(error.to_string())),
            Err(_) => Err(BrokerError::Unavailable("no answer within the deadline".into())),
        }
    }
}

#[async_trait]
impl Topics for RedisBroker {
    async fn subscribe(&self, topics: &[ChannelId]) -> Result<(), BrokerError> {
        let mut subscription = self.subscription()?;
        if topics.is_empty() {
            return Ok(());
        }
        self.confirmed(subscription.subscribe(self.channels(topics))).await
    }

    async fn unsubscribe(&self, topics: &[ChannelId]) -> Result<(), BrokerError> {
        let mut subscription = self.subscription()?;
        if topics.is_empty() {
            return Ok(());
        }
        self.confirmed(subscription.unsubscribe(self.channels(topics))).await
    }

    async fn publish(&self, batch: &[TopicMessage]) -> Result<(), BrokerError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut commands = redis::pipe();
        for TopicMessage { topic, message } in batch {
            commands.cmd("PUBLISH").arg(self.channel(*topic)).arg(message.as_ref()).ignore();
        }
        let commands = &commands;
        self.link.run("publish", async |mut redis| commands.query_async::<()>(&mut redis).await).await?;
        Ok(())
    }
}
