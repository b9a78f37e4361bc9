//! Carries finished frames to the nodes that own a user's sockets, control messages to all nodes, and what is said in a
//! topic to those that subscribe to it ([`Topics`]).
//!
//! A broker may lose anything and says so nowhere; what it carries is a hint that Postgres has news.
//! Frames for one user that are routed one after the other arrive in that order, or not at all.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::domain::ids::{ChannelId, EventId, UserId};
use crate::telemetry::traces::TraceContext;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod failures;
mod memory;
mod redis;
mod topics;
pub mod wire;

pub use memory::{MemoryBroker, MemoryBus};
pub use redis::RedisBroker;
pub use topics::{TopicMessage, Topics};

/// One event on its way to one user's sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub event: EventId,
    pub user: UserId,
    pub seq: i64,
    /// Where in a trace the work of its receiver belongs, if it is traced.
    pub trace: Option<TraceContext>,
    /// The WebSocket frame, header and payload, that a node writes as it is.
    pub frame: Bytes,
}

/// What became of an envelope, as far as the broker can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This many other nodes took it. A hint, not a proof: a frozen node takes messages too.
    Nodes(u32),
    /// No other node owns a socket of this user.
    Nobody,
    /// Nobody was reached, and that proves nothing: the broker lost its memory lately, or the user's node was lost or
    /// sent its users to others a moment ago.
    Unknown,
}

/// What arrives at a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    Deliver(Envelope),
    /// A message to every node; opaque here.
    Control(Bytes),
    /// A message to whoever subscribes to the topic; opaque here.
    Topic(ChannelId, Bytes),
    /// A subscription stands, again or for the first time: before it, anything may have been missed. It knows no topics
    /// yet.
    Subscribed,
}

/// Takes what arrives. Called from the broker's own task: must not block.
pub type Listener = Arc<dyn Fn(Incoming) + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Not routed, or unknown whether it was. Nothing needs to be done: the sweeper will.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
}

#[async_trait]
pub trait Broker: Send + Sync {
    /// Routes each envelope to all live nodes but this one that own a socket of its user, in one command
    /// for the batch. The answers are in the order of the envelopes.
    async fn route(&self, batch: &[Envelope]) -> Result<Vec<Reach>, BrokerError>;

    /// Sends a control message to every node, this one included.
    async fn broadcast(&self, message: Bytes) -> Result<(), BrokerError>;

    /// Listens to this node's inbox and to control messages until the future is dropped; reconnects by
    /// itself, forever.
    async fn listen(&self, listener: Listener);

    /// Publishes to this node's own inbox and waits until it arrives: whether the whole way works.
    /// After two failures in a row the broker takes its subscription for dead and makes a new one.
    async fn probe(&self) -> Result<(), BrokerError>;
}
