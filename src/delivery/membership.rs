//! This node's place in the cluster: its lease, its presence entries, and what arrives in its inbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::db::Lineage;
use crate::delivery::fallback::Fallback;
use crate::delivery::mailbox::Mailbox;
use crate::delivery::reconcile::BrokerHealth;
use crate::delivery::registry::Registry;
use crate::delivery::rooms::{TopicListener, TopicNews};
use crate::domain::ids::{ConnectionId, NodeId, SessionId, UserId};
use crate::domain::standing::Standing;
use crate::failpoint;
use crate::ports::broker::{Broker, Envelope, Incoming, Listener};
use crate::ports::presence::{Entry, Presence, PresenceError, Renewal};
use crate::seeded_bug;
use crate::shutdown::Shutdown;

const HEARTBEAT: Duration = Duration::from_secs(1);
const REGISTER_BATCH: usize = 500;
/// Between two batches, so that a thousand nodes that come back do not stall Redis.
const REGISTER_PAUSE: Duration = Duration::from_millis(5);
const MISSED_QUEUE_MAX: usize = 1_024;
/// Connections that are being made known at once. When thousands come together, Redis answers each of few in time,
/// but not each of all; and a user whom it does not know would be pushed although connected.
const ENTERING_MAX: usize = 64;

/// A message to every node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Control {
    /// Its sockets must close everywhere.
    SessionRevoked { user: UserId, session: SessionId },
    /// The device has a newer connection; older ones of its must close everywhere.
    DeviceConnected { user: UserId, device: String, connection: ConnectionId },
    /// A node speaks to this server: who speaks to an older one of its line must not go on.
    DatabaseSeen(Lineage),
    /// Users went online, away or offline: whoever is here and watches them is told.
    PresenceChanged { standings: Vec<Standing> },
}

/// Takes control messages. Called from the broker's task: must not block.
pub type ControlListener = Arc<dyn Fn(Control) + Send + Sync>;

/// Who else is told what arrives at this node.
pub struct Listeners {
    pub control: ControlListener,
    pub topics: TopicListener,
}

#[cfg(test)]
impl Listeners {
    /// Of a node that does nothing about it.
    pub fn none() -> Self {
        Self { control: Arc::new(|_| {}), topics: Arc::new(|_| {}) }
    }
}

/// The user has as many connections on this node as one may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyConnections;

pub struct Membership {
    node: NodeId,
    registry: Arc<Registry>,
    presence: Arc<dyn Presence>,
    broker: Arc<dyn Broker>,
    health: Arc<BrokerHealth>,
    fallback: Fallback,
    /// Presence may lack entries of ours: write all of them again.
    stale: AtomicBool,
    entering: Semaphore,
}

impl Membership {
    #[must_use]
    pub fn new(
        node: NodeId,
        registry: Arc<Registry>,
        presence: Arc<dyn Presence>,
        broker: Arc<dyn Broker>,
        health: Arc<BrokerHealth>,
        fallback: Fallback,
    ) -> Arc<Self> {
        let (stale, entering) = (AtomicBool::new(false), Semaphore::new(ENTERING_MAX));
        Arc::new(Self { node, registry, presence, broker, health, fallback, stale, entering })
    }

    /// Starts to listen and to renew the lease.
    pub fn start(self: &Arc<Self>, listeners: Listeners, shutdown: &Shutdown) {
        let (missed, missed_queue) = mpsc::channel(MISSED_QUEUE_MAX);
        let listener = self.listener(listeners, missed);
        let (this, stop) = (Arc::clone(self), shutdown.clone());
        shutdown.spawn("delivery.subscriber", async move {
            // Cancel-safe: what the subscription held is in Postgres too.
            stop.unless_stopped(this.broker.listen(listener)).await;
        });
        shutdown.spawn("delivery.missed", Arc::clone(self).answer_missed(missed_queue, shutdown.clone()));
        shutdown.spawn("delivery.lease", Arc::clone(self).keep_lease(shutdown.clone()));
    }

    /// Makes a connection known: here first, so that nothing passes it by, then to the other nodes.
    ///
    /// # Errors
    /// When its user has `per_user_max` others here.
    pub async fn enter(&self, mailbox: &Arc<Mailbox>, per_user_max: usize) -> Result<(), TooManyConnections> {
        if !self.registry.insert_within(mailbox, per_user_max) {
            return Err(TooManyConnections);
        }
        // Each before us is through within the deadlines of two commands, or at once when Redis is away.
        let _turn = self.entering.acquire().await.expect("the semaphore is never closed");
        if self.presence.enter(&[mailbox.entry(self.node)]).await.is_err() {
            self.stale.store(true, Ordering::Relaxed);
        }
        // Not before: who reads then how the user stands can rely on it that others find the connection.
        self.registry.turnover().note(mailbox.user);
        if let Some(device) = &mailbox.device {
            let (user, connection) = (mailbox.user, mailbox.connection);
            self.registry.replace_device(user, device, connection);
            self.broadcast(&Control::DeviceConnected { user, device: device.clone(), connection }).await;
        }
        Ok(())
    }

    /// Forgets a connection. If presence cannot be told now, whoever meets the void entry removes it.
    pub async fn leave(&self, mailbox: &Mailbox) {
        self.registry.remove(mailbox);
        self.forget(&[mailbox.entry(self.node)]).await;
    }

    /// As [`Membership::leave`], for a node that sends its clients to the others: they are not absent meanwhile.
    pub async fn depart(&self, mailbox: &Mailbox) {
        self.registry.remove(mailbox);
        if let Err(error) = self.presence.depart(&[mailbox.entry(self.node)]).await {
            tracing::debug!(%error, "a presence entry stays until this node's lease has ended");
        }
    }

    async fn forget(&self, entries: &[Entry]) {
        if let Err(error) = self.presence.leave(entries).await {
            tracing::debug!(%error, "a presence entry stays until somebody meets it");
        }
    }

    /// Tells every node, this one included, as far as the broker reaches.
    pub async fn broadcast(&self, control: &Control) {
        let message = serde_json::to_vec(control).expect("a control message is a plain enum");
        if let Err(error) = self.broker.broadcast(Bytes::from(message)).await {
            tracing::warn!(%error, "a control message did not go out");
        }
    }

    fn listener(self: &Arc<Self>, listeners: Listeners, missed: mpsc::Sender<Envelope>) -> Listener {
        let (this, Listeners { control: on_control, topics: on_topic }) = (Arc::clone(self), listeners);
        Arc::new(move |incoming| match incoming {
            Incoming::Deliver(_) if seeded_bug::drops_message() => {}
            Incoming::Deliver(envelope) => {
                failpoint!("on_receive");
                if this.registry.deliver(&envelope) == 0 && missed.try_send(envelope).is_err() {
                    metrics::counter!("fanlight_missed_overflows_total").increment(1);
                }
            }
            Incoming::Control(message) => match serde_json::from_slice(&message) {
                Ok(control) => on_control(control),
                // A newer version may say more than we know.
                Err(_) => metrics::counter!("fanlight_broker_unreadable_messages_total").increment(1),
            },
            Incoming::Topic(room, message) => on_topic(TopicNews::Said(room, message)),
            Incoming::Subscribed => {
                on_topic(TopicNews::Interrupted);
                this.stale.store(true, Ordering::Relaxed);
                this.health.interrupted();
            }
        })
    }

    /// An event came for a user who is not connected here: the sender was misled by an entry of ours that is
    /// void. Removes it, and pushes if the user is nowhere else.
    async fn answer_missed(self: Arc<Self>, mut missed: mpsc::Receiver<Envelope>, shutdown: Shutdown) {
        while let Some(Some(envelope)) = shutdown.unless_stopped(missed.recv()).await {
            metrics::counter!("fanlight_events_missed_total").increment(1);
            match self.is_gone(envelope.user).await {
                Ok(true) => self.fallback.push_now(envelope.event),
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "a missed event is left to the sweeper"),
            }
        }
    }

    async fn is_gone(&self, user: UserId) -> Result<bool, PresenceError> {
        let entries = self.presence.connections_of(user).await?;
        let (void, others): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| entry.node == self.node && !self.registry.contains(user, entry.connection));
        if !void.is_empty() {
            self.presence.leave(&void).await?;
        }
        Ok(others.is_empty())
    }

    async fn keep_lease(self: Arc<Self>, shutdown: Shutdown) {
        loop {
            let renewed = self.renew_lease().await;
            if renewed && self.stale.swap(false, Ordering::Relaxed) {
                self.register_again().await;
            }
            let probed = self.broker.probe().await;
            self.health.set(renewed && probed.is_ok());
            if shutdown.unless_stopped(tokio::time::sleep(HEARTBEAT)).await.is_none() {
                break;
            }
        }
        if let Err(error) = self.presence.release_lease(self.node).await {
            tracing::debug!(%error, "the lease runs out by itself");
        }
    }

    /// Renews the lease; notes if our entries may be gone: Redis came back without a memory, or this node
    /// was frozen for longer than its lease and the others took it for dead.
    async fn renew_lease(&self) -> bool {
        let renewed = self.presence.renew_lease(self.node).await;
        if !matches!(renewed, Ok(Renewal::Kept)) {
            self.stale.store(true, Ordering::Relaxed);
        }
        renewed.is_ok()
    }

    /// Writes all entries again, a batch at a time; renews the lease on the way, which must not end under
    /// the entries. Then asks Postgres for what passed this node by while they were missing.
    async fn register_again(&self) {
        let mut renewed_at = Instant::now();
        for batch in self.registry.entries(self.node).chunks(REGISTER_BATCH) {
            if self.presence.enter(batch).await.is_err() {
                self.stale.store(true, Ordering::Relaxed);
                return;
            }
            self.forget_who_left(batch).await;
            if renewed_at.elapsed() >= HEARTBEAT {
                self.renew_lease().await;
                renewed_at = Instant::now();
            }
            tokio::time::sleep(REGISTER_PAUSE).await;
        }
        self.health.interrupted();
        // Others may have taken them for gone meanwhile.
        self.registry.turnover().note_forgotten();
    }

    /// A connection that ended while its batch was written has said goodbye before it was entered again.
    async fn forget_who_left(&self, entries: &[Entry]) {
        let gone = |entry: &&Entry| !self.registry.contains(entry.user, entry.connection);
        let left: Vec<Entry> = entries.iter().filter(gone).cloned().collect();
        if !left.is_empty() {
            self.forget(&left).await;
        }
    }
}
