//! What is said in a topic reaches every node that subscribes to it: one message, however many people a node has there.
//!
//! As the rest of the broker it may lose anything, and says so nowhere but by `Incoming::Subscribed`.

use async_trait::async_trait;
use bytes::Bytes;

use super::BrokerError;
use crate::domain::ids::ChannelId;

/// Something said in a topic; opaque here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMessage {
    pub topic: ChannelId,
    pub message: Bytes,
}

#[async_trait]
pub trait Topics: Send + Sync {
    /// What is published in these topics after this returns comes as `Incoming::Topic`, for as long as this node's
    /// subscription stands: after each `Incoming::Subscribed`, all of them have to be subscribed to again. Once more
    /// changes nothing.
    async fn subscribe(&self, topics: &[ChannelId]) -> Result<(), BrokerError>;

    /// A message that is on its way may still come.
    async fn unsubscribe(&self, topics: &[ChannelId]) -> Result<(), BrokerError>;

    /// Sends each message to all nodes that subscribe to its topic, this one included, in one round trip for the batch.
    /// Messages of one node in one topic arrive in the order in which they were published, or not at all.
    async fn publish(&self, batch: &[TopicMessage]) -> Result<(), BrokerError>;
}
