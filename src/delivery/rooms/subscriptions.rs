//! Keeps this node subscribed to the topics of the rooms that live here, and to no others.
//!
//! One task makes all changes, so that a subscription that begins and one that ends never overtake each other.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use crate::delivery::rooms::Inner;
use crate::domain::ids::ChannelId;
use crate::ports::broker::BrokerError;

const TOPICS_PER_COMMAND: usize = 500;
/// After Redis did not answer.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Follows the rooms that come and go, until the process stops.
pub async fn run(inner: Arc<Inner>) {
    let mut heard = HashSet::new();
    while !inner.shutdown.is_stopping() {
        // Cancel-safe: a lost notification is repeated by the timer.
        let woken = timeout(RETRY_INTERVAL, inner.subscriptions_changed.notified());
        inner.shutdown.unless_stopped(woken).await.map(drop).unwrap_or_default();
        if inner.is_interrupted.swap(false, Ordering::SeqCst) {
            heard.clear();
            let all = inner.live.read();
            for live in all.values() {
                live.is_heard.send_replace(false);
            }
            inner.touched.lock().extend(all.keys());
        }
        let touched = std::mem::take(&mut *inner.touched.lock());
        if let Err(error) = inner.follow(&mut heard, &touched).await {
            tracing::debug!(%error, "cannot follow the rooms; will try again");
            inner.touched.lock().extend(touched);
        }
    }
}

impl Inner {
    /// A room came or went.
    pub fn touch(&self, room: ChannelId) {
        self.touched.lock().insert(room);
        self.subscriptions_changed.notify_one();
    }

    /// The node's subscription is a new one.
    pub fn subscribe_again(&self) {
        self.is_interrupted.store(true, Ordering::SeqCst);
        self.subscriptions_changed.notify_one();
    }

    async fn follow(
        &self,
        heard: &mut HashSet<ChannelId>,
        touched: &HashSet<ChannelId>,
    ) -> Result<(), BrokerError> {
        let topics = &self.parts.topics;
        let (wanted, unwanted): (Vec<ChannelId>, Vec<ChannelId>) =
            touched.iter().copied().partition(|room| self.room(*room).is_some());
        let (known, unknown): (Vec<ChannelId>, Vec<ChannelId>) =
            wanted.into_iter().partition(|room| heard.contains(room));
        self.are_heard(&known);
        for some in unknown.chunks(TOPICS_PER_COMMAND) {
            topics.subscribe(some).await?;
            heard.extend(some);
            self.are_heard(some);
        }
        for some in unwanted.chunks(TOPICS_PER_COMMAND) {
            // Forgotten before: what fails may have taken effect, and who comes back meanwhile subscribes anew.
            heard.retain(|room| !some.contains(room));
            topics.unsubscribe(some).await?;
        }
        Ok(())
    }

    /// What was said before that may have been missed; not by a room that nobody has read yet.
    fn are_heard(&self, rooms: &[ChannelId]) {
        let mut doubtful = Vec::new();
        for live in rooms.iter().filter_map(|room| self.room(*room)) {
            let is_begun = live.room.lock().told().is_some();
            doubtful.extend(is_begun.then_some(live.id));
            live.is_heard.send_replace(true);
        }
        if !doubtful.is_empty() {
            self.doubt(&doubtful);
        }
    }
}
