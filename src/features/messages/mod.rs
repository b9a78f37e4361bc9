//! What people write to each other: messages, threads, reactions, search, and how far everybody has read.
//!
//! A message and its place in its conversation are one statement. The conversation's row is locked in it, so that the
//! order of `seq` is the order of commits, without a gap; whatever happens to a message later takes the next `revision`
//! of the conversation in the same way. Whether one may is decided by `channels::Access` alone.
//!
//! A message that may concern somebody who is elsewhere leaves a notice for `features::notifications` in the same statement.
//!
//! `routes` → [`Service`] → `repository`; after the commit those who follow the conversation are told ([`Audience`]), and
//! who missed that is told again from the [`Log`].

mod audience;
mod bodies;
mod commands;
mod config;
mod error;
mod events;
mod log;
mod mentions;
mod model;
mod prune;
mod repository;
mod routes;
mod rules;
mod service;
#[cfg(test)]
pub(in crate::features) mod tests;
mod views;

pub use audience::Audience;
pub use commands::{Commands, MessageCommand, described as commands};
pub use config::Config;
pub use error::MessagesError;
pub(super) use events::{events, room_events};
pub use log::Log;
pub use model::{Draft, Edit, Marker, Message, MessageType, Metadata, Page, Reaction, Search, Sent, Window};
pub use prune::run_prune_job;
pub use repository::reading::marker;
pub use routes::{openapi, routes};
pub use service::{Service, Settings};
pub use views::{MarkerView, MessageView};
