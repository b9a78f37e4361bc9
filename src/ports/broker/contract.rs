//! What every broker must do, asked of each adapter.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::{Broker, Envelope, Incoming, MemoryBroker, MemoryBus, Reach, RedisBroker, TopicMessage, Topics};
use crate::dev::testing::redis_url;
use crate::domain::ids::{ChannelId, ConnectionId, EventId, NodeId, UserId};
use crate::ports::presence::{Entry, MemoryPresence, Presence, RedisPresence};
use crate::ports::redis::RedisLink;
use crate::shutdown::Shutdown;

const PATIENCE: Duration = Duration::from_secs(20);
const QUEUE_MAX: usize = 1_024;

/// What every adapter is.
pub(super) trait Whole: Broker + Topics {}

impl<T: Broker + Topics> Whole for T {}

/// Makes the nodes of one cluster.
pub(super) struct Backend {
    pub presence: Arc<dyn Presence>,
    pub broker: Box<dyn Fn(NodeId) -> Arc<dyn Whole> + Send + Sync>,
}

impl Backend {
    /// A node with a lease, without a subscription.
    pub async fn deaf_node(&self) -> (NodeId, Arc<dyn Whole>) {
        let node = NodeId::generate();
        self.presence.renew_lease(node).await.unwrap();
        (node, (self.broker)(node))
    }

    /// A node with a lease that listens.
    pub async fn node(&self) -> Node {
        let (id, broker) = self.deaf_node().await;
        let (sender, inbox) = mpsc::channel(QUEUE_MAX);
        let listening = Shutdown::new();
        let (subscriber, stop) = (Arc::clone(&broker), listening.clone());
        listening.spawn("test.listen", async move {
            let listener = Arc::new(move |incoming| {
                let full = matches!(sender.try_send(incoming), Err(TrySendError::Full(_)));
                assert!(!full, "a test's inbox is large enough");
            });
            stop.unless_stopped(subscriber.listen(listener)).await;
        });
        until(async || broker.probe().await.is_ok()).await;
        let mut node = Node { id, broker, inbox, listening, presence: Arc::clone(&self.presence) };
        assert_eq!(node.next().await, Incoming::Subscribed, "told before anything else");
        node
    }
}

pub(super) struct Node {
    pub id: NodeId,
    pub broker: Arc<dyn Whole>,
    inbox: mpsc::Receiver<Incoming>,
    listening: Shutdown,
    presence: Arc<dyn Presence>,
}

impl Node {
    /// The user opens a connection here.
    pub async fn connect(&self, user: UserId) {
        let entry = Entry { user, connection: ConnectionId::generate(), node: self.id };
        self.presence.enter(&[entry]).await.unwrap();
    }

    pub async fn next(&mut self) -> Incoming {
        tokio::time::timeout(PATIENCE, self.inbox.recv()).await.expect("something arrives").unwrap()
    }

    /// All that arrived before a control message sent now, which must not be overtaken.
    async fn received(&mut self) -> Vec<Incoming> {
        let end = Bytes::from(format!("end {}", EventId::generate()));
        self.broker.broadcast(end.clone()).await.unwrap();
        let mut received = Vec::new();
        loop {
            match self.next().await {
                Incoming::Control(message) if message == end => return received,
                Incoming::Control(message) if message.starts_with(b"end ") => {}
                other => received.push(other),
            }
        }
    }

    pub async fn stop_listening(&self) {
        self.listening.stop();
        assert!(self.listening.finished(PATIENCE).await);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.listening.stop();
    }
}

/// Asks until the answer is yes. Yields in between: an adapter in memory never waits by itself.
pub(super) async fn until(ask: impl AsyncFn() -> bool) {
    let asking = async {
        while !ask().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("what is waited for happens in time");
}

pub(super) fn envelope(user: UserId, seq: i64) -> Envelope {
    let frame = Bytes::from(format!("frame {seq} with \0 and \r\n in it"));
    Envelope { event: EventId::generate(), user, seq, trace: None, frame }
}

pub(super) async fn route_one(broker: &dyn Broker, envelope: &Envelope) -> Reach {
    broker.route(std::slice::from_ref(envelope)).await.unwrap()[0]
}

async fn suite(backend: &Backend) {
    all_owners_but_the_caller_are_reached_once_each(backend).await;
    the_answers_of_a_batch_are_in_its_order(backend).await;
    the_order_per_user_is_kept(backend).await;
    a_broadcast_reaches_everybody(backend).await;
    a_node_without_a_lease_is_not_reached(backend).await;
    a_node_that_does_not_listen_is_not_taken_for_gone(backend).await;
    a_probe_fails_when_nobody_listens(backend).await;
    a_topic_reaches_its_subscribers_once_each_and_in_order(backend).await;
    a_topic_that_was_left_is_not_heard(backend).await;
    a_node_that_does_not_listen_subscribes_to_nothing(backend).await;
}

async fn all_owners_but_the_caller_are_reached_once_each(backend: &Backend) {
    let [mut caller, mut one, mut other, mut stranger] =
        [backend.node().await, backend.node().await, backend.node().await, backend.node().await];
    let user = UserId::generate();
    for node in [&caller, &one, &one, &one, &other] {
        node.connect(user).await;
    }
    stranger.connect(UserId::generate()).await;
    let event = envelope(user, 1);
    assert_eq!(route_one(&*caller.broker, &event).await, Reach::Nodes(2));
    assert_eq!(one.received().await, [Incoming::Deliver(event.clone())]);
    assert_eq!(other.received().await, [Incoming::Deliver(event)]);
    assert_eq!(caller.received().await, []);
    assert_eq!(stranger.received().await, []);
}

async fn the_answers_of_a_batch_are_in_its_order(backend: &Backend) {
    let [caller, mut one, other] = [backend.node().await, backend.node().await, backend.node().await];
    let [nowhere, here, there, everywhere] = [(); 4].map(|()| UserId::generate());
    caller.connect(here).await;
    one.connect(there).await;
    for node in [&caller, &one, &other] {
        node.connect(everywhere).await;
    }
    let batch = [nowhere, there, here, everywhere, there].map(|user| envelope(user, 1));
    let expected = [Reach::Nobody, Reach::Nodes(1), Reach::Nobody, Reach::Nodes(2), Reach::Nodes(1)];
    assert_eq!(caller.broker.route(&batch).await.unwrap(), expected);
    let arrived = [1, 3, 4].map(|index: usize| Incoming::Deliver(batch[index].clone()));
    assert_eq!(one.received().await, arrived);
    assert_eq!(caller.broker.route(&[]).await.unwrap(), []);
}

async fn the_order_per_user_is_kept(backend: &Backend) {
    let [caller, mut owner] = [backend.node().await, backend.node().await];
    let user = UserId::generate();
    owner.connect(user).await;
    let events: Vec<Envelope> = (1..=200).map(|seq| envelope(user, seq)).collect();
    for batch in events.chunks(7) {
        caller.broker.route(batch).await.unwrap();
    }
    let expected: Vec<Incoming> = events.into_iter().map(Incoming::Deliver).collect();
    assert_eq!(owner.received().await, expected);
}

async fn a_broadcast_reaches_everybody(backend: &Backend) {
    let [mut caller, mut other] = [backend.node().await, backend.node().await];
    let message = Bytes::from_static(b"to all \xff");
    caller.broker.broadcast(message.clone()).await.unwrap();
    assert_eq!(caller.received().await, [Incoming::Control(message.clone())]);
    assert_eq!(other.received().await, [Incoming::Control(message)]);
}

async fn a_node_without_a_lease_is_not_reached(backend: &Backend) {
    let [caller, mut frozen] = [backend.node().await, backend.node().await];
    let user = UserId::generate();
    frozen.connect(user).await;
    backend.presence.release_lease(frozen.id).await.unwrap();
    assert_eq!(route_one(&*caller.broker, &envelope(user, 1)).await, Reach::Nobody);
    assert_eq!(frozen.received().await, []);
    backend.presence.renew_lease(frozen.id).await.unwrap();
    assert_eq!(backend.presence.connections_of(user).await.unwrap(), []);
}

async fn a_node_that_does_not_listen_is_not_taken_for_gone(backend: &Backend) {
    let [caller, deaf] = [backend.node().await, backend.node().await];
    let user = UserId::generate();
    deaf.connect(user).await;
    deaf.stop_listening().await;
    // A connection ends here before it ends there.
    until(async || route_one(&*caller.broker, &envelope(user, 1)).await == Reach::Unknown).await;
    assert_eq!(backend.presence.connections_of(user).await.unwrap().len(), 1);
}

async fn a_probe_fails_when_nobody_listens(backend: &Backend) {
    let (_, deaf) = backend.deaf_node().await;
    assert!(deaf.probe().await.is_err());
    let node = backend.node().await;
    node.broker.probe().await.unwrap();
    node.stop_listening().await;
    until(async || node.broker.probe().await.is_err()).await;
}

pub(super) fn said(topic: ChannelId, number: usize) -> TopicMessage {
    TopicMessage { topic, message: Bytes::from(format!("said {number} with \0 and \r\n in it")) }
}

fn heard(messages: impl IntoIterator<Item = TopicMessage>) -> Vec<Incoming> {
    messages.into_iter().map(|TopicMessage { topic, message }| Incoming::Topic(topic, message)).collect()
}

async fn a_topic_reaches_its_subscribers_once_each_and_in_order(backend: &Backend) {
    let [mut caller, mut one, mut other, mut stranger] =
        [backend.node().await, backend.node().await, backend.node().await, backend.node().await];
    let [lively, quiet, unknown] = [(); 3].map(|()| ChannelId::generate());
    for node in [&caller, &one, &other] {
        node.broker.subscribe(&[lively, quiet]).await.unwrap();
    }
    // Twice is once.
    one.broker.subscribe(&[lively]).await.unwrap();
    other.broker.unsubscribe(&[lively]).await.unwrap();
    one.broker.subscribe(&[]).await.unwrap();
    stranger.broker.unsubscribe(&[lively]).await.unwrap();

    let batch: Vec<TopicMessage> =
        (0..60).map(|number| said([lively, quiet, unknown][number % 3], number)).collect();
    for some in batch.chunks(7) {
        caller.broker.publish(some).await.unwrap();
    }
    caller.broker.publish(&[]).await.unwrap();

    let of = |topics: &[ChannelId]| heard(batch.iter().filter(|it| topics.contains(&it.topic)).cloned());
    assert_eq!(caller.received().await, of(&[lively, quiet]));
    assert_eq!(one.received().await, of(&[lively, quiet]));
    assert_eq!(other.received().await, of(&[quiet]));
    assert_eq!(stranger.received().await, []);
}

async fn a_topic_that_was_left_is_not_heard(backend: &Backend) {
    let [caller, mut node] = [backend.node().await, backend.node().await];
    let [left, kept] = [(); 2].map(|()| ChannelId::generate());
    node.broker.subscribe(&[left, kept]).await.unwrap();
    node.broker.unsubscribe(&[left]).await.unwrap();
    caller.broker.publish(&[said(left, 1), said(kept, 2)]).await.unwrap();
    assert_eq!(node.received().await, heard([said(kept, 2)]));
    node.broker.subscribe(&[left]).await.unwrap();
    caller.broker.publish(&[said(left, 3)]).await.unwrap();
    assert_eq!(node.received().await, heard([said(left, 3)]));
}

async fn a_node_that_does_not_listen_subscribes_to_nothing(backend: &Backend) {
    let (_, deaf) = backend.deaf_node().await;
    let topic = ChannelId::generate();
    deaf.subscribe(&[topic]).await.unwrap_err();
    deaf.unsubscribe(&[topic]).await.unwrap_err();
    deaf.publish(&[said(topic, 1)]).await.unwrap();
}

pub(super) fn redis(link: &RedisLink) -> Backend {
    let (presence, link) = (Arc::new(RedisPresence::new(link.clone())), link.clone());
    Backend { presence, broker: Box::new(move |node| Arc::new(RedisBroker::new(link.clone(), node))) }
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let (bus, presence) = (Arc::<MemoryBus>::default(), Arc::<MemoryPresence>::default());
    let shared = Arc::clone(&presence);
    let broker = move |node| Arc::new(MemoryBroker::new(Arc::clone(&bus), Arc::clone(&shared), node)) as _;
    suite(&Backend { presence, broker: Box::new(broker) }).await;
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let prefix = uuid::Uuid::now_v7().to_string();
    suite(&redis(&RedisLink::for_test(&redis_url().await, &prefix))).await;
}
