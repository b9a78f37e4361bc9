//! The settings of rooms.

use std::time::Duration;

use anyhow::{bail, ensure};
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Rooms that one connection may subscribe to.
    pub subscriptions_per_connection_max: usize,
    /// A subscriber, or a node, that missed more changes of a room is told to read its state instead.
    pub replay_changes_max: u32,
    /// Changes that one statement of a replay or a repair reads.
    pub replay_page_changes: u32,
    /// Changes of a room that are kept for those who are about to join it.
    pub gate_changes_max: usize,
    /// Changes of a room that may wait behind a gap, or for their turn.
    pub waiting_changes_max: usize,
    /// How long a gap is waited for, before it is read from Postgres: nodes that write side by side overtake each other.
    pub gap_grace_ms: u64,
    /// Frames that may wait to be published.
    pub publish_queue_frames: usize,
    /// How often a node compares its rooms with Postgres while Redis is well.
    pub compare_interval_ms: u64,
    /// Reads of rooms in Postgres at once; others wait for their turn.
    pub read_concurrency: usize,
}

impl Config {
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        let counts = [
            self.subscriptions_per_connection_max,
            self.replay_changes_max as usize,
            self.replay_page_changes as usize,
            self.gate_changes_max,
            self.waiting_changes_max,
            self.publish_queue_frames,
            self.read_concurrency,
        ];
        if counts.contains(&0) {
            bail!("delivery.rooms: every …_max, …_changes, …_frames and concurrency must be at least 1");
        }
        ensure!(self.compare_interval_ms > 0, "delivery.rooms.compare_interval_ms must be at least 1");
        ensure!(
            self.gap_grace_ms < 1_000,
            "delivery.rooms.gap_grace_ms must be less than 1000: what follows a gap waits as long"
        );
        Ok(())
    }

    pub(super) fn gap_grace(&self) -> Duration {
        Duration::from_millis(self.gap_grace_ms)
    }

    pub(super) fn compare_interval(&self) -> Duration {
        Duration::from_millis(self.compare_interval_ms)
    }
}
