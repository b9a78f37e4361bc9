//! Who people are: registration, login, sessions, profiles.
//!
//! A login opens a *session*: the family of all tokens that descend from it. Access tokens are signed and
//! short-lived, so that any node trusts them without asking; refresh tokens are random, stored hashed and good
//! for one use. A used one that comes back means that somebody else has it too, and ends the session.
//!
//! The path of a login: `routes::sessions` → [`Service::log_in`] → `limits` (who may try) → `passwords`
//! (Argon2id, off the async threads) → `repository::sessions`. Revocation reaches other nodes twice: announced
//! through the broker for speed, and polled by [`revocation`] for certainty.

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

mod commands;
mod config;
mod error;
pub mod housekeeping;
mod limits;
mod model;
mod passwords;
mod repository;
pub mod revocation;
mod routes;
mod rules;
mod service;
#[cfg(test)]
mod tests;
mod views;

pub use config::Config;
pub use error::AccountError;
pub use model::{Client, Credentials, NewAccount, Opened, User};
pub use repository::users::display_name;
pub use revocation::SessionRevoked;
pub use service::{Announce, Service, Settings};

/// Every route of this feature.
pub fn routes(service: Arc<Service>) -> OpenApiRouter {
    routes::all().with_state(service)
}

/// What the routes are, for the API document.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes::all().into_openapi()
}
