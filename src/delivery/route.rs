//! The way from a committed event to the nodes that hold its user's sockets.

use std::sync::Arc;

use crate::delivery::event::Committed;
use crate::delivery::reconcile::BrokerHealth;
use crate::delivery::registry::Registry;
use crate::failpoint;
use crate::ports::broker::{Broker, Envelope, Reach};

/// Whether anybody was seen who may receive an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// A connection of this node has it in its mailbox.
    Local,
    /// Another node took it.
    Remote,
    /// The user is connected nowhere.
    Absent,
    /// The broker cannot tell.
    Unknown,
}

impl Sighting {
    fn new(local: usize, reach: Reach) -> Self {
        match (local, reach) {
            (1.., _) => Self::Local,
            (0, Reach::Nodes(_)) => Self::Remote,
            (0, Reach::Nobody) => Self::Absent,
            (0, Reach::Unknown) => Self::Unknown,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Route {
    pub registry: Arc<Registry>,
    pub broker: Arc<dyn Broker>,
    /// Whether this node reaches the others.
    pub health: Arc<BrokerHealth>,
}

impl Route {
    /// Sends a batch on its way: to the connections here directly, so that they hear even while the broker
    /// is away, and to the other nodes in one round trip. One answer per event, in order.
    pub async fn send(&self, batch: &[Committed]) -> Vec<Sighting> {
        let local: Vec<usize> = batch.iter().map(|event| self.registry.deliver(&event.envelope)).collect();
        let envelopes: Vec<Envelope> = batch.iter().map(|event| event.envelope.clone()).collect();
        failpoint!("before_publish");
        let reaches = self.broker.route(&envelopes).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "left to the sweeper of another node");
            // Known before the next probe finds it, so that this node's own sweeper keeps off the event.
            self.health.set(false);
            vec![Reach::Unknown; batch.len()]
        });
        failpoint!("after_publish");
        let sightings: Vec<Sighting> =
            local.into_iter().zip(reaches).map(|(local, reach)| Sighting::new(local, reach)).collect();
        for (event, sighting) in batch.iter().zip(&sightings) {
            metrics::counter!(
                "fanlight_events_routed_total",
                "kind" => event.kind.clone(), "sighting" => sighting.as_str()
            )
            .increment(1);
        }
        sightings
    }
}
