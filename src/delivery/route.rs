//! The way from a committed event to the nodes that hold its user's sockets.

use std::sync::Arc;

use crate::delivery::event::Committed;
use crate::delivery::reconcile::BrokerHealth;
use crate::delivery::registry::Registry;
use crate::failpoint;
use crate::ports::broker::{Broker, Envelope, Reach};
use crate::telemetry::traces::{Span, SpanKind};

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

/// Whether events are sent for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    First,
    /// By a sweeper, because nobody confirmed them.
    Again,
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
    pub async fn send(&self, batch: &[Committed], turn: Turn) -> Vec<Sighting> {
        let mut envelopes: Vec<Envelope> = batch.iter().map(|event| event.envelope.clone()).collect();
        let mut spans = spans(batch, turn);
        // A repetition goes without: a node of before the traces has dropped the first one, and must not drop this.
        if turn == Turn::First {
            for (index, span) in &spans {
                envelopes[*index].trace = span.context();
            }
        }
        let local: Vec<usize> = envelopes.iter().map(|envelope| self.registry.deliver(envelope)).collect();
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
        for (index, span) in &mut spans {
            span.set("event.sighting", || sightings[*index].as_str());
        }
        sightings
    }
}

/// Those of the events that are traced, by their place in the batch.
fn spans(batch: &[Committed], turn: Turn) -> Vec<(usize, Span)> {
    let traced = batch.iter().enumerate().filter(|(_, event)| event.trace.is_some());
    let span = |(index, event): (usize, &Committed)| {
        let span = Span::below(event.trace, SpanKind::Producer, "event.publish")
            .with_id("event.id", event.envelope.event)
            .with("event.kind", || event.kind.clone())
            .with("event.seq", || event.envelope.seq)
            .with("event.repeated", || turn == Turn::Again);
        (index, span)
    };
    traced.map(span).collect()
}
