//! Files that people attach to messages: received as a stream, kept in a store of blobs, read by who may read the message.
//!
//! A file is received once, as a whole or not at all, and never changed. Until its message is written only who sent it may
//! read it; from then on, whoever may read that message, as `channels::access` decides. Of each file there is a row, before
//! its blob and after it: what dies on the way leads to a row, and a row that is over leads the sweep to its blob.
//!
//! `routes` → [`Service`] → `repository` and `ports::blobs`. Messages attach them in the statement that writes a message.

mod bodies;
mod config;
mod error;
mod headers;
mod kinds;
mod model;
mod names;
mod places;
mod receiving;
mod repository;
mod routes;
mod service;
mod sweep;
#[cfg(test)]
mod tests;
mod views;

pub use config::Config;
pub use error::UploadsError;
pub use routes::{openapi, receiving_routes, routes};
pub use service::{Service, Settings};
pub use sweep::run_sweep_job;
