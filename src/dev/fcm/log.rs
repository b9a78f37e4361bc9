//! What arrived, in order: the page that shows the pushes, and the evidence of the tests.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::Value;

/// One send that arrived.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Epoch ms.
    pub at: i64,
    pub token: String,
    pub message: Value,
    /// How often this event was sent to this token, this time included.
    pub attempt: usize,
    /// `accepted`, or the code of the error.
    pub outcome: String,
}

/// Bounded: forgets the oldest.
pub(super) struct Log {
    entries: VecDeque<Entry>,
    max: usize,
}

impl Log {
    pub(super) fn new(max: usize) -> Self {
        Self { entries: VecDeque::new(), max: max.max(1) }
    }

    pub(super) fn record(&mut self, at: i64, message: Value, outcome: &str) {
        let token = message["token"].as_str().unwrap_or_default().to_owned();
        let event = &message["data"]["eventId"];
        let same = |entry: &&Entry| entry.token == token && entry.message["data"]["eventId"] == *event;
        let attempt = 1 + self.entries.iter().rev().find(same).map_or(0, |entry| entry.attempt);
        if self.entries.len() == self.max {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { at, token, message, attempt, outcome: outcome.to_owned() });
    }

    /// How many sends to `token` arrived.
    pub(super) fn arrivals(&self, token: &str) -> usize {
        self.entries.iter().filter(|entry| entry.token == token).count()
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.iter().cloned().collect()
    }

    pub(super) fn latest(&self, count: usize) -> Vec<Entry> {
        self.entries.iter().rev().take(count).cloned().collect()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}
