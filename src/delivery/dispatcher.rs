//! Hands an event on the moment it is committed.
//!
//! To the nodes that hold the user's sockets, and to the push service when there are none. All of it is an
//! attempt: if anything fails here, the row falls due and a sweeper repeats it.

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::delivery::event::Committed;
use crate::delivery::fallback::Fallback;
use crate::delivery::route::{Route, Sighting, Turn};
use crate::failpoint;
use crate::shutdown::Shutdown;

/// As many events travel together; what is committed while a batch is on its way makes the next one.
const BATCH_MAX: usize = 128;

/// Cheap to clone; all clones feed the same queue.
#[derive(Clone)]
pub struct Dispatcher {
    queue: mpsc::Sender<Committed>,
}

impl Dispatcher {
    /// Starts the task that empties the queue, in which `queue_events` may wait.
    #[must_use]
    pub fn start(route: &Route, fallback: &Fallback, queue_events: usize, shutdown: &Shutdown) -> Self {
        let (queue, receiver) = mpsc::channel(queue_events.max(1));
        shutdown
            .spawn("delivery.dispatcher", run(route.clone(), fallback.clone(), receiver, shutdown.clone()));
        Self { queue }
    }

    /// A dispatcher that does nothing, for tests of features: a sweeper would find the events.
    #[must_use]
    pub fn idle() -> Self {
        Self { queue: mpsc::channel(1).0 }
    }

    /// Starts the delivery of committed events, and waits for nobody but the task that does it. Call it after the
    /// commit. If the queue is full the events wait for the sweeper.
    ///
    /// Cancel-safe: what is dropped while it waits is on its way.
    pub async fn dispatch(&self, events: Vec<Committed>) {
        for event in events {
            failpoint!("after_commit");
            if let Err(TrySendError::Full(_)) = self.queue.try_send(event) {
                metrics::counter!("fanlight_dispatch_overflows_total").increment(1);
            }
        }
        // The events go first, then whatever the caller does next: it answers whoever knows already.
        tokio::task::yield_now().await;
    }
}

async fn run(route: Route, fallback: Fallback, mut queue: mpsc::Receiver<Committed>, shutdown: Shutdown) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    // Cancel-safe: `recv_many` takes nothing unless it returns.
    while let Some(1..) = shutdown.unless_stopped(queue.recv_many(&mut batch, BATCH_MAX)).await {
        failpoint!("on_dispatch");
        let sightings = route.send(&batch, Turn::First).await;
        for (event, sighting) in batch.drain(..).zip(sightings) {
            if sighting == Sighting::Absent && event.pushable {
                fallback.push_now(event.envelope.event);
            }
        }
    }
}
