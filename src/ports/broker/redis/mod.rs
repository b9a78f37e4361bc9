//! The broker over Redis pub/sub: one inbox channel per node, one control channel for all, and one per topic.
//!
//! The subscription has a connection of its own. As soon as one stands, the listener hears
//! [`Incoming::Subscribed`]: it fetches from Postgres what it missed, and enters its connections again, which
//! another Redis would not know of.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use redis::aio::PubSubSink;
use redis::{Msg, RedisError, Script, ScriptInvocation};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::{Broker, BrokerError, Envelope, Incoming, Listener, Reach, wire};
use crate::domain::ids::NodeId;
use crate::ports::redis::{BELIEF, RedisFailure, RedisLink};

mod topics;

use topics::Standing;

const RECONNECT_DELAY: Duration = Duration::from_millis(250);
const PROBES_MISSED_MAX: u32 = 2;

pub struct RedisBroker {
    link: RedisLink,
    node: NodeId,
    inbox: String,
    control: String,
    /// Begins the channel of each topic.
    topics: String,
    script: Script,
    probes_sent: AtomicU64,
    probes_missed: AtomicU32,
    /// The last probe that came back.
    probe_arrived: watch::Sender<u64>,
    /// Tells the listener to give its subscription up.
    reconnect: Notify,
    /// Adds topics to the subscription, while there is one.
    subscription: Mutex<Option<PubSubSink>>,
}

impl RedisBroker {
    #[must_use]
    pub fn new(link: RedisLink, node: NodeId) -> Self {
        Self {
            inbox: link.key("inbox", node),
            control: link.key("control", "all"),
            topics: link.key("topic", ""),
            script: Script::new(&[BELIEF, include_str!("../route.lua")].concat()),
            probes_sent: AtomicU64::new(0),
            probes_missed: AtomicU32::new(0),
            probe_arrived: watch::Sender::new(0),
            reconnect: Notify::new(),
            subscription: Mutex::new(None),
            link,
            node,
        }
    }

    /// The script's call for a batch: one command, however many envelopes there are.
    fn invocation(&self, batch: &[Envelope]) -> ScriptInvocation<'_> {
        let config = self.link.config();
        let mut invocation = self.script.prepare_invoke();
        invocation
            .key(self.link.pulse_key())
            .arg(&config.key_prefix)
            .arg(self.node.to_string())
            .arg(config.stall_ms())
            .arg(config.warmup_ms);
        for envelope in batch {
            invocation
                .key(self.link.key("presence", envelope.user))
                .key(self.link.key("moving", envelope.user))
                .arg(wire::encode(envelope).as_ref());
        }
        invocation
    }

    /// One subscription, from connecting to its end.
    async fn subscribe_once(&self, listener: &Listener) -> Result<(), RedisError> {
        let mut server = self.link.server();
        let Some(client) = server.borrow_and_update().as_ref().map(|server| server.client.clone()) else {
            return Ok(());
        };
        let connect = async {
            let mut subscription = client.get_async_pubsub().await?;
            subscription.subscribe(&[&self.inbox, &self.control]).await?;
            Ok::<_, RedisError>(subscription)
        };
        let deadline = Duration::from_millis(self.link.config().connect_timeout_ms);
        let subscription = tokio::time::timeout(deadline, connect)
            .await
            .map_err(|_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))??;
        self.probes_missed.store(0, Ordering::Relaxed);
        let (sink, mut messages) = subscription.split();
        let _standing = Standing::new(&self.subscription, sink);
        listener(Incoming::Subscribed);
        loop {
            // Cancel-safe: `StreamExt::next`, `Notify::notified` and `Receiver::changed` all are.
            let message = tokio::select! {
                message = messages.next() => message,
                () = self.reconnect.notified() => return Ok(()),
                // It listens where nobody speaks any more.
                _ = server.changed() => return Ok(()),
            };
            let Some(message) = message else { return Ok(()) };
            self.hear(&message, listener);
        }
    }

    fn hear(&self, message: &Msg, listener: &Listener) {
        let (channel, payload) =
            (message.get_channel_name(), Bytes::copy_from_slice(message.get_payload_bytes()));
        if channel == self.control {
            return listener(Incoming::Control(payload));
        }
        if let Some(topic) = self.topic(channel) {
            return listener(Incoming::Topic(topic, payload));
        }
        match wire::decode(payload) {
            Some(wire::Message::Envelope(envelope)) => listener(Incoming::Deliver(envelope)),
            Some(wire::Message::Probe(nonce)) => {
                self.probe_arrived.send_replace(nonce);
            }
            None => metrics::counter!("fanlight_broker_unreadable_messages_total").increment(1),
        }
    }

    async fn send_probe(&self) -> Result<(), BrokerError> {
        let nonce = self.probes_sent.fetch_add(1, Ordering::Relaxed) + 1;
        let mut arrived = self.probe_arrived.subscribe();
        let payload = wire::encode_probe(nonce);
        let receivers: i64 = self
            .link
            .probe("probe", async |mut redis| {
                redis::cmd("PUBLISH").arg(&self.inbox).arg(payload.as_ref()).query_async(&mut redis).await
            })
            .await?;
        if receivers == 0 {
            return Err(BrokerError::Unavailable("nobody listens to this node's inbox".into()));
        }
        let deadline = Duration::from_millis(self.link.config().command_timeout_ms);
        match tokio::time::timeout(deadline, arrived.wait_for(|last| *last >= nonce)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(BrokerError::Unavailable("a probe did not come back".into())),
        }
    }
}

#[async_trait]
impl Broker for RedisBroker {
    async fn route(&self, batch: &[Envelope]) -> Result<Vec<Reach>, BrokerError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let invocation = &self.invocation(batch);
        let answers: Vec<i64> =
            self.link.run("route", async |mut redis| invocation.invoke_async(&mut redis).await).await?;
        Ok(answers.into_iter().map(reach).collect())
    }

    async fn broadcast(&self, message: Bytes) -> Result<(), BrokerError> {
        let message = message.as_ref();
        self.link
            .run("broadcast", async |mut redis| {
                redis::cmd("PUBLISH").arg(&self.control).arg(message).query_async::<()>(&mut redis).await
            })
            .await?;
        Ok(())
    }

    async fn listen(&self, listener: Listener) {
        let mut told = false;
        loop {
            let started = Instant::now();
            match self.subscribe_once(&listener).await {
                Ok(()) => told = false,
                Err(error) if told => tracing::debug!(%error, "still cannot subscribe to redis"),
                Err(error) => {
                    tracing::warn!(%error, "cannot subscribe to redis; will try again");
                    told = true;
                }
            }
            metrics::counter!("fanlight_broker_interruptions_total").increment(1);
            // One that stood for a while is replaced at once: meanwhile this node hears nothing.
            tokio::time::sleep_until(started + RECONNECT_DELAY).await;
        }
    }

    async fn probe(&self) -> Result<(), BrokerError> {
        let result = self.send_probe().await;
        if result.is_ok() {
            self.probes_missed.store(0, Ordering::Relaxed);
        } else if self.probes_missed.fetch_add(1, Ordering::Relaxed) + 1 >= PROBES_MISSED_MAX {
            // TCP may look alive although nothing comes through.
            self.probes_missed.store(0, Ordering::Relaxed);
            self.reconnect.notify_waiters();
        }
        result
    }
}

fn reach(answer: i64) -> Reach {
    match u32::try_from(answer) {
        Ok(0) => Reach::Nobody,
        Ok(nodes) => Reach::Nodes(nodes),
        Err(_) => Reach::Unknown,
    }
}

impl From<RedisFailure> for BrokerError {
    fn from(failure: RedisFailure) -> Self {
        Self::Unavailable(failure.to_string())
    }
}
