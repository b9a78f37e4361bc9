//! The settings of delivery.

use std::time::Duration;

use anyhow::bail;
use serde::Deserialize;

use crate::delivery::rooms;

const COALESCE_WINDOW_MS_MAX: u64 = 60_000;

/// Whose confirmation settles an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettledBy {
    /// One device is enough.
    AnyDevice,
    /// Each registered device confirms, or is pushed.
    EveryDevice,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub settled_by: SettledBy,
    /// After the commit, how long a device has to confirm before the event is pushed.
    pub ack_deadline_ms: u64,
    /// How often a node looks for due events.
    pub sweep_interval_ms: u64,
    /// Due events that one look takes on.
    pub sweep_batch_max: u32,
    /// How long a claimed event is left to its worker, who renews it; so late a crash in mid-push is repeated.
    pub claim_lease_ms: u64,
    /// How long confirmations are gathered before they are written.
    pub settle_interval_ms: u64,
    /// How long settled events are kept for clients that come back.
    pub retention_hours: u64,
    /// How many settled events of one user are kept meanwhile; older ones are deleted before their time.
    pub kept_events_per_user_max: u32,
    /// A client that missed more is told to read the state instead.
    pub replay_events_max: u32,
    /// Events that one statement of a replay reads.
    pub replay_page_events: u32,
    /// Connections of one node that read what they missed at once; others wait for their turn.
    pub replay_concurrency: usize,
    /// Committed events that may wait for the dispatcher; more wait for the sweeper.
    pub dispatch_queue_events: usize,
    /// How often a node compares its connections with Postgres while Redis is well.
    pub reconcile_interval_ms: u64,
    pub push: PushConfig,
    pub rooms: rooms::Config,
}

/// How pushes are repeated.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushConfig {
    /// Events that one node pushes at once.
    pub concurrency: usize,
    /// Events that may wait for their first push; more wait for the sweeper.
    pub queue_events: usize,
    /// The first repetition comes after a random time up to this; each later one up to twice as long.
    pub backoff_first_ms: u64,
    pub backoff_max_ms: u64,
    /// After this long without success a push is given up, and the event waits for the next connect.
    pub give_up_minutes: u64,
    /// After a push, how long what replaces it on the device waits, to be pushed together.
    pub coalesce_window_ms: u64,
}

impl Config {
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        self.rooms.check()?;
        let counts = [
            self.sweep_batch_max as usize,
            self.replay_events_max as usize,
            self.replay_page_events as usize,
            self.replay_concurrency,
            self.dispatch_queue_events,
            self.push.concurrency,
            self.push.queue_events,
        ];
        if counts.contains(&0) {
            bail!("delivery: every …_max, …_events and concurrency must be at least 1");
        }
        if self.ack_deadline_ms <= 1_000 {
            bail!(
                "delivery.ack_deadline_ms must be more than 1000: an event is routed again one second after its commit"
            );
        }
        if self.sweep_interval_ms == 0 || self.sweep_interval_ms >= self.ack_deadline_ms {
            bail!("delivery.sweep_interval_ms must be at least 1 and less than delivery.ack_deadline_ms");
        }
        if self.claim_lease_ms < 1_000 {
            bail!("delivery.claim_lease_ms must be at least 1000: a worker must have the time to renew it");
        }
        if self.retention_hours == 0 || self.reconcile_interval_ms == 0 {
            bail!("delivery.retention_hours and delivery.reconcile_interval_ms must be at least 1");
        }
        if self.kept_events_per_user_max < self.replay_events_max {
            bail!(
                "delivery.kept_events_per_user_max must be at least delivery.replay_events_max: what is replayed must be kept"
            );
        }
        if self.settle_interval_ms >= 1_000 {
            bail!(
                "delivery.settle_interval_ms must be less than 1000: an event not settled by then is routed again"
            );
        }
        if self.push.coalesce_window_ms > COALESCE_WINDOW_MS_MAX {
            bail!(
                "delivery.push.coalesce_window_ms must be at most {COALESCE_WINDOW_MS_MAX}: so late is news told"
            );
        }
        if self.push.backoff_first_ms == 0 || self.push.backoff_first_ms > self.push.backoff_max_ms {
            bail!(
                "delivery.push.backoff_first_ms must be at least 1 and at most delivery.push.backoff_max_ms"
            );
        }
        Ok(())
    }

    /// Refuses what contradicts the settings of others: connections to Postgres, and frames that may wait for a client.
    ///
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check_beside(&self, connections_max: u32, queue_frames_max: usize) -> anyhow::Result<()> {
        if self.replay_concurrency + self.rooms.read_concurrency >= connections_max as usize {
            bail!(
                "delivery.replay_concurrency and delivery.rooms.read_concurrency together must be less than postgres.connections_max: requests need connections too"
            );
        }
        if self.rooms.gate_changes_max >= queue_frames_max {
            bail!(
                "delivery.rooms.gate_changes_max must be less than sockets.queue_frames_max: who joins is left all of it at once"
            );
        }
        Ok(())
    }

    #[must_use]
    pub fn ack_deadline(&self) -> Duration {
        Duration::from_millis(self.ack_deadline_ms)
    }

    #[must_use]
    pub fn retention(&self) -> Duration {
        Duration::from_secs(self.retention_hours * 3600)
    }

    #[must_use]
    pub fn claim_lease(&self) -> Duration {
        Duration::from_millis(self.claim_lease_ms)
    }
}
