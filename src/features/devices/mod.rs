//! The phones and browsers that can be woken by a push.
//!
//! A device registers the token that FCM gave to its app. A token is active for one device of one user at
//! most: a shared phone belongs to who signed in last, or the two would read each other's notifications. The
//! token itself is a secret; nobody gets to see it again, and no log does.

mod model;
mod push_devices;
mod repository;
mod routes;
mod service;
mod stale;
#[cfg(test)]
mod tests;

use anyhow::bail;
use serde::Deserialize;

pub use model::{Device, Registration};
pub use push_devices::PushDevices;
pub use repository::retire_for_session;
pub use routes::{openapi, routes};
pub use service::{DevicesError, Service};
pub use stale::run_stale_job;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Active registrations per user; one more retires the oldest.
    pub active_max: u32,
    /// Retired registrations that are kept per user; older ones are deleted.
    pub inactive_max: u32,
    /// A token that its app has not registered again for this long is not pushed to any more.
    pub stale_after_days: u32,
    /// How often a node looks for such tokens.
    pub stale_poll_seconds: u64,
    /// How many of them one transaction retires.
    pub stale_batch_max: u32,
}

impl Config {
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.active_max == 0 || self.stale_batch_max == 0 {
            bail!("devices.active_max and devices.stale_batch_max must be at least 1");
        }
        if self.stale_after_days == 0 || self.stale_poll_seconds == 0 {
            bail!("devices.stale_after_days and devices.stale_poll_seconds must be at least 1");
        }
        Ok(())
    }
}
