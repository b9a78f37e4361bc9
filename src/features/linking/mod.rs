//! Two people become a couple, and part again.
//!
//! One shows a code, the other types it in. Linking and unlinking lock both users' rows, in the order of
//! their ids, and then decide: everybody has one partner or none, and is that partner's partner, whoever
//! else tries at the same moment. The database refuses anything else (see `migrations/0003_couples.sql`).

mod code;
mod events;
mod model;
mod repository;
mod routes;
mod service;
#[cfg(test)]
mod tests;

use anyhow::bail;
use serde::Deserialize;

pub use code::LinkCode;
pub(super) use events::events;
pub use model::{LinkSession, LinkState};
pub use routes::{openapi, routes};
pub use service::{LinkingError, Service};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long a link code is good.
    pub code_ttl_seconds: u32,
    /// Wrong codes that one user may try per window.
    pub wrong_codes_max: u32,
    pub wrong_codes_window_seconds: u32,
}

impl Config {
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.code_ttl_seconds == 0 {
            bail!("linking.code_ttl_seconds must be at least 1: a code has to be typed in");
        }
        if self.wrong_codes_max == 0 || self.wrong_codes_window_seconds == 0 {
            bail!("linking.wrong_codes_max and linking.wrong_codes_window_seconds must be at least 1");
        }
        Ok(())
    }
}
