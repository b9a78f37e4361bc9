//! The traffic light: AVAILABLE, BUSY or OFFLINE, seen live by the partner.
//!
//! A change and the events that tell of it are one statement: the partner is told of exactly those changes
//! that were committed while the two were linked, in the order in which they were committed. A timed
//! status lapses to what was before it, whichever node is alive when its time is over.
//!
//! `routes` → `service` → `repository` (the one statement) → the dispatcher; `lapse` is the job.

mod events;
mod lapse;
mod model;
mod repository;
mod routes;
mod service;
#[cfg(test)]
mod tests;

use anyhow::bail;
use serde::Deserialize;

pub(super) use events::events;
pub use lapse::run_lapse_job;
pub use model::{Light, Person, Status, Timer};
pub use routes::{openapi, routes};
pub use service::{Service, StatusError};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The longest a timed status may last.
    pub duration_seconds_max: u32,
    /// How often a node looks for timed statuses whose time is over.
    pub lapse_poll_ms: u64,
    /// How many of them one transaction ends.
    pub lapse_batch_max: u32,
}

impl Config {
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        const LAPSE_POLL_MS_MAX: u64 = 60_000;
        if self.duration_seconds_max == 0 {
            bail!("status.duration_seconds_max must be at least 1");
        }
        if !(1..=LAPSE_POLL_MS_MAX).contains(&self.lapse_poll_ms) || self.lapse_batch_max == 0 {
            bail!("status.lapse_poll_ms must be 1 to 60000, and status.lapse_batch_max at least 1");
        }
        Ok(())
    }
}
