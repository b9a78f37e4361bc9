//! Says what happened in rooms to the other nodes, many rooms in one round trip.
//!
//! What cannot be said is in the log: as soon as Redis answers again, the others are told that there is something to read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout;

use crate::delivery::rooms::Inner;
use crate::delivery::rooms::wire::{self, Said};
use crate::domain::ids::ChannelId;
use crate::ports::broker::TopicMessage;

const BATCH_MAX: usize = 128;
/// What travels together: the events of users use the same connection.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Rooms whose changes were not published; of more, comparisons find them.
const UNSAID_MAX: usize = 10_000;
/// While something is unsaid.
const SAY_AGAIN: Duration = Duration::from_secs(1);

/// On its way to the other nodes.
#[derive(Debug)]
pub struct Outgoing {
    room: ChannelId,
    /// Of what must not be lost.
    revision: Option<i64>,
    message: Bytes,
}

/// Publishes until the process stops, and then what is left.
pub async fn run(inner: Arc<Inner>, mut queue: mpsc::Receiver<Outgoing>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while !inner.shutdown.is_stopping() {
        // Cancel-safe: `recv_many` takes nothing unless it returns.
        let received = timeout(SAY_AGAIN, queue.recv_many(&mut batch, BATCH_MAX));
        inner.shutdown.unless_stopped(received).await.map(drop).unwrap_or_default();
        inner.publish(&mut batch).await;
    }
    while let Ok(outgoing) = queue.try_recv() {
        batch.push(outgoing);
    }
    inner.publish(&mut batch).await;
}

impl Inner {
    /// Lets the other nodes know. `revision`: of what must not be lost. What passes has half of the queue.
    pub fn say(&self, room: ChannelId, revision: Option<i64>, said: &Said) {
        let outgoing = Outgoing { room, revision, message: wire::encode(self.parts.node, said) };
        let passes = matches!(said, Said::Passing(_));
        let is_refused = passes && self.outgoing.capacity() <= self.outgoing.max_capacity() / 2;
        let sent = if is_refused {
            Err(outgoing)
        } else {
            self.outgoing.try_send(outgoing).map_err(TrySendError::into_inner)
        };
        if let Err(outgoing) = sent {
            metrics::counter!("fanlight_room_publish_overflows_total").increment(1);
            self.leave_unsaid(&outgoing);
        }
    }

    fn leave_unsaid(&self, outgoing: &Outgoing) {
        let mut unsaid = self.unsaid.lock();
        if let Some(revision) = outgoing.revision
            && (unsaid.len() < UNSAID_MAX || unsaid.contains_key(&outgoing.room))
        {
            let known = unsaid.entry(outgoing.room).or_default();
            *known = revision.max(*known);
        }
    }

    async fn publish(&self, batch: &mut Vec<Outgoing>) {
        let unsaid = std::mem::take(&mut *self.unsaid.lock());
        batch.extend(unsaid.into_iter().map(|(room, revision)| Outgoing {
            room,
            revision: Some(revision),
            message: wire::encode(self.parts.node, &Said::Head(revision)),
        }));
        let mut rest = &batch[..];
        while !rest.is_empty() {
            let (some, later) = rest.split_at(at_once(rest));
            let messages: Vec<TopicMessage> = some
                .iter()
                .map(|outgoing| TopicMessage { topic: outgoing.room, message: outgoing.message.clone() })
                .collect();
            crate::failpoint!("room_unsaid");
            if let Err(error) = self.parts.topics.publish(&messages).await {
                tracing::debug!(%error, "what happened in rooms is said again later");
                metrics::counter!("fanlight_room_publish_failures_total").increment(1);
                for outgoing in some {
                    self.leave_unsaid(outgoing);
                }
            }
            rest = later;
        }
        batch.clear();
    }
}

/// How many of these are published at once; at least one.
fn at_once(batch: &[Outgoing]) -> usize {
    let mut bytes = 0;
    let fits = |outgoing: &&Outgoing| {
        bytes += outgoing.message.len();
        bytes <= BATCH_BYTES_MAX
    };
    batch.iter().take(BATCH_MAX).take_while(fits).count().max(1)
}
