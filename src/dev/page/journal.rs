//! What was seen of each event and each message on its way: on the bus, and as a frame on a phone's line.
//!
//! Watched from outside, so that the nodes are as in production. The times of the bus are Redis' own, those of the lines
//! this process's; those of the commit and of the settlement are in Postgres.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use serde::Serialize;
use uuid::Uuid;

use crate::domain::clock::{Clock as _, SystemClock};

/// Older events are forgotten; so are repetitions of one event beyond these.
const EVENTS_MAX: usize = 1_000;
const SIGHTINGS_MAX: usize = 8;
const NODE_IDS_MAX: usize = 1_000;

/// One sighting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sighting {
    /// Epoch ms, with a fraction.
    pub at: f64,
    /// The node's name, if it is known by now.
    pub node: Option<String>,
    /// On whose line, for a frame that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
}

/// The way of one event, or of one message.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Way {
    /// An event's envelope was on its way to these nodes; a message was said by this node to all that follow the room.
    pub published: Vec<Sighting>,
    /// These nodes wrote its frame.
    pub written: Vec<Sighting>,
}

#[derive(Default)]
pub struct Journal(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    ways: HashMap<Uuid, Seen>,
    order: VecDeque<Uuid>,
    /// The name of each incarnation of a node, as far as a phone has met it.
    names: HashMap<Uuid, String>,
}

#[derive(Default)]
struct Seen {
    published: Vec<(f64, Uuid)>,
    written: Vec<Sighting>,
}

impl Journal {
    /// `at` is epoch ms; `node` is to get the event, or says the message.
    pub fn published(&self, event: Uuid, node: Uuid, at: f64) {
        let mut inner = self.0.lock();
        let published = &mut inner.seen(event).published;
        if published.len() < SIGHTINGS_MAX {
            published.push((at, node));
        }
    }

    pub fn written(&self, event: Uuid, node: &str, line: &str) {
        let mut inner = self.0.lock();
        let written = &mut inner.seen(event).written;
        if written.len() < SIGHTINGS_MAX {
            let (node, line) = (Some(node.to_owned()), Some(line.to_owned()));
            written.push(Sighting { at: now_ms(), node, line });
        }
    }

    /// This incarnation said its id to a phone.
    pub fn met(&self, id: Uuid, name: &str) {
        let mut inner = self.0.lock();
        if inner.names.len() >= NODE_IDS_MAX {
            inner.names.clear();
        }
        inner.names.insert(id, name.to_owned());
    }

    pub fn way(&self, event: Uuid) -> Way {
        let inner = self.0.lock();
        let Some(seen) = inner.ways.get(&event) else { return Way::default() };
        let published = seen.published.iter().map(|(at, inbox)| Sighting {
            at: *at,
            node: inner.names.get(inbox).cloned(),
            line: None,
        });
        Way { published: published.collect(), written: seen.written.clone() }
    }
}

impl Inner {
    fn seen(&mut self, event: Uuid) -> &mut Seen {
        if !self.ways.contains_key(&event) {
            if self.order.len() == EVENTS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.ways.remove(&oldest);
            }
            self.order.push_back(event);
        }
        self.ways.entry(event).or_default()
    }
}

fn now_ms() -> f64 {
    milliseconds(SystemClock.now())
}

/// Epoch ms, with a fraction.
#[expect(clippy::cast_precision_loss, reason = "epoch microseconds fit the 53 bits until the year 2255")]
pub fn milliseconds(at: chrono::DateTime<chrono::Utc>) -> f64 {
    at.timestamp_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_names_the_nodes_that_a_phone_has_met() {
        let journal = Journal::default();
        let (event, node) = (Uuid::now_v7(), Uuid::now_v7());
        journal.published(event, node, now_ms());
        assert_eq!(journal.way(event).published[0].node, None);
        journal.met(node, "node-2");
        journal.written(event, "node-2", "ben");
        let way = journal.way(event);
        assert_eq!(way.published[0].node.as_deref(), Some("node-2"));
        assert_eq!(way.written[0].line.as_deref(), Some("ben"));
        assert!(way.published[0].at <= way.written[0].at);
    }

    #[test]
    fn the_oldest_ways_are_forgotten() {
        let journal = Journal::default();
        let first = Uuid::now_v7();
        journal.written(first, "node-1", "ada");
        (0..EVENTS_MAX).for_each(|_| journal.published(Uuid::now_v7(), first, 0.0));
        assert_eq!(journal.way(first), Way::default());
        assert_eq!(journal.0.lock().ways.len(), EVENTS_MAX);
    }
}
