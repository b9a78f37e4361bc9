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

use serde::Deserialize;

pub use code::LinkCode;
pub use model::{LinkSession, LinkState};
pub use routes::routes;
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
