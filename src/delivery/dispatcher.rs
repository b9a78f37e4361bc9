//! Hands an event on the moment it is committed.
//!
//! To the nodes that hold the user's sockets, and to the push service when there are none. All of it is an
//! attempt: if anything fails here, the row falls due and a sweeper repeats it.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::delivery::event::Committed;
use crate::delivery::fallback::Fallback;
use crate::delivery::route::{Route, Sighting};
use crate::domain::ids::UserId;
use crate::failpoint;
use crate::shutdown::Shutdown;

/// Each lane has one batch on its way; a user's events stay in one lane, and so in order.
const LANES: usize = 4;
const BATCH_MAX: usize = 128;

/// Cheap to clone; all clones feed the same lanes.
#[derive(Clone)]
pub struct Dispatcher {
    lanes: Arc<[mpsc::Sender<Committed>]>,
}

impl Dispatcher {
    /// Starts the lanes. `queue_events` may wait altogether.
    #[must_use]
    pub fn start(route: &Route, fallback: &Fallback, queue_events: usize, shutdown: &Shutdown) -> Self {
        let lanes = (0..LANES).map(|_| {
            let (sender, receiver) = mpsc::channel(queue_events.div_ceil(LANES).max(1));
            let lane = run_lane(route.clone(), fallback.clone(), receiver, shutdown.clone());
            shutdown.spawn("delivery.dispatcher", lane);
            sender
        });
        Self { lanes: lanes.collect() }
    }

    /// A dispatcher that does nothing, for tests of features: a sweeper would find the events.
    #[must_use]
    pub fn idle() -> Self {
        Self { lanes: Arc::new([]) }
    }

    /// Starts the delivery of committed events, and returns at once. Call it after the commit. If the
    /// queue is full the events wait for the sweeper.
    pub fn dispatch(&self, events: Vec<Committed>) {
        for event in events {
            failpoint!("after_commit");
            let Some(lane) = self.lane(event.envelope.user) else { return };
            if lane.try_send(event).is_err() {
                metrics::counter!("fanlight_dispatch_overflows_total").increment(1);
            }
        }
    }

    fn lane(&self, user: UserId) -> Option<&mpsc::Sender<Committed>> {
        // The low bits of a UUIDv7 are random.
        let [.., low] = *user.0.as_bytes();
        self.lanes.get(usize::from(low) % LANES)
    }
}

async fn run_lane(
    route: Route,
    fallback: Fallback,
    mut queue: mpsc::Receiver<Committed>,
    shutdown: Shutdown,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    // Cancel-safe: `recv_many` takes nothing unless it returns.
    while let Some(1..) = shutdown.unless_stopped(queue.recv_many(&mut batch, BATCH_MAX)).await {
        failpoint!("on_dispatch");
        let sightings = route.send(&batch).await;
        for (event, sighting) in batch.drain(..).zip(sightings) {
            if sighting == Sighting::Absent && event.pushable {
                fallback.push_now(event.envelope.event);
            }
        }
    }
}
