//! The broker inside one process, for tests and for a single node without Redis.

use std::collections::{BTreeSet, HashMap};
use std::future::pending;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{Broker, BrokerError, Envelope, Incoming, Listener, Reach, TopicMessage, Topics};
use crate::domain::ids::{ChannelId, NodeId};
use crate::ports::presence::{MemoryPresence, Presence as _};

/// What the brokers of all nodes in this process share.
#[derive(Default)]
pub struct MemoryBus(Mutex<HashMap<NodeId, Subscriber>>);

/// A node that listens.
struct Subscriber {
    listener: Listener,
    topics: BTreeSet<ChannelId>,
}

pub struct MemoryBroker {
    bus: Arc<MemoryBus>,
    presence: Arc<MemoryPresence>,
    node: NodeId,
}

impl MemoryBroker {
    #[must_use]
    pub fn new(bus: Arc<MemoryBus>, presence: Arc<MemoryPresence>, node: NodeId) -> Self {
        Self { bus, presence, node }
    }

    fn listener(&self, node: NodeId) -> Option<Listener> {
        self.bus.0.lock().get(&node).map(|subscriber| Arc::clone(&subscriber.listener))
    }

    fn listeners(&self, of: impl Fn(&Subscriber) -> bool) -> Vec<Listener> {
        let bus = self.bus.0.lock();
        let concerned = bus.values().filter(|subscriber| of(subscriber));
        concerned.map(|subscriber| Arc::clone(&subscriber.listener)).collect()
    }

    fn change_topics(&self, change: impl FnOnce(&mut BTreeSet<ChannelId>)) -> Result<(), BrokerError> {
        match self.bus.0.lock().get_mut(&self.node) {
            Some(subscriber) => {
                change(&mut subscriber.topics);
                Ok(())
            }
            None => Err(BrokerError::Unavailable("no subscription stands".into())),
        }
    }

    async fn route_one(&self, envelope: &Envelope) -> Reach {
        let entries = self.presence.connections_of(envelope.user).await.expect("memory does not fail");
        let others = entries.iter().map(|entry| entry.node).filter(|node| *node != self.node);
        let (mut reached, mut silent) = (0, false);
        for owner in others.collect::<BTreeSet<NodeId>>() {
            if let Some(listener) = self.listener(owner) {
                listener(Incoming::Deliver(envelope.clone()));
                reached += 1;
            } else {
                silent = true;
            }
        }
        match (reached, silent) {
            (1.., _) => Reach::Nodes(reached),
            (0, true) => Reach::Unknown,
            (0, false) => Reach::Nobody,
        }
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    async fn route(&self, batch: &[Envelope]) -> Result<Vec<Reach>, BrokerError> {
        let mut answers = Vec::with_capacity(batch.len());
        for envelope in batch {
            answers.push(self.route_one(envelope).await);
        }
        Ok(answers)
    }

    async fn broadcast(&self, message: Bytes) -> Result<(), BrokerError> {
        for listener in self.listeners(|_| true) {
            listener(Incoming::Control(message.clone()));
        }
        Ok(())
    }

    async fn listen(&self, listener: Listener) {
        let subscriber = Subscriber { listener: Arc::clone(&listener), topics: BTreeSet::new() };
        self.bus.0.lock().insert(self.node, subscriber);
        let _registration = Registration(self);
        listener(Incoming::Subscribed);
        pending::<()>().await;
    }

    async fn probe(&self) -> Result<(), BrokerError> {
        match self.listener(self.node) {
            Some(_) => Ok(()),
            None => Err(BrokerError::Unavailable("nobody listens to this node's inbox".into())),
        }
    }
}

#[async_trait]
impl Topics for MemoryBroker {
    async fn subscribe(&self, topics: &[ChannelId]) -> Result<(), BrokerError> {
        self.change_topics(|subscribed| subscribed.extend(topics))
    }

    async fn unsubscribe(&self, topics: &[ChannelId]) -> Result<(), BrokerError> {
        self.change_topics(|subscribed| subscribed.retain(|topic| !topics.contains(topic)))
    }

    async fn publish(&self, batch: &[TopicMessage]) -> Result<(), BrokerError> {
        for TopicMessage { topic, message } in batch {
            for listener in self.listeners(|subscriber| subscriber.topics.contains(topic)) {
                listener(Incoming::Topic(*topic, message.clone()));
            }
        }
        Ok(())
    }
}

/// Ends the subscription when the listening future is dropped.
struct Registration<'a>(&'a MemoryBroker);

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.0.bus.0.lock().remove(&self.0.node);
    }
}
