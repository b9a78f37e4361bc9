//! The parts every HTTP endpoint is made of: extraction, errors, and the conventions of our API.

pub mod addresses;
mod entrance;
pub mod extract;
pub mod layers;
pub mod paging;
pub mod problem;
mod refusal;
pub mod server;

pub use extract::{Caller, IdempotencyKey, Json, Locale, Path, PeerAddress, Query};
pub use problem::{ErrorCode, Problem};
