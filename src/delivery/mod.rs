//! How one event reaches one user.
//!
//! A feature appends the event in its own transaction ([`outbox`]) and hands it to the [`dispatcher`]. That
//! routes it ([`route`]) to the nodes that hold the user's sockets; there it goes through the [`registry`]
//! into the [`mailbox`] of each connection. What a device confirms is written back by [`settlement`].
//! Everything that goes wrong on this way is found by the [`sweeper`] (which [`claims`] it) or by [`reconcile`], and
//! pushed by the [`fallback`] when no device answers. How it ended is one [`outcome`], with one reason.
//!
//! What happens in [`rooms`] goes another way to the same mailboxes: one change to everybody who subscribes.

pub mod backlog;
pub mod budget;
pub mod claims;
pub mod config;
pub mod cursors;
pub mod described;
pub mod device_tokens;
pub mod dispatcher;
pub mod event;
pub mod fallback;
mod mail;
pub mod mailbox;
pub mod membership;
pub mod outbox;
pub mod outcome;
pub mod reconcile;
pub mod registry;
pub mod rooms;
pub mod route;
pub mod settlement;
pub mod sweeper;
pub mod takeover;
pub mod texts;
pub mod turnover;

#[cfg(test)]
mod tests;

pub use config::Config;
