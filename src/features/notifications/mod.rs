//! Tells people who are elsewhere what concerns them: who names them, who writes to them, and whatever else they want to know.
//!
//! Whoever writes a message that may concern somebody absent leaves one row with it, however many are concerned, in the
//! transaction of the message. The job ([`Teller`]) makes of it one row for each person and conversation, decides each when
//! it is due ([`Reason`]), and tells by an event, which delivery then brings to a device or hands to FCM. Nobody is told
//! of what they have read, mute or have on a screen.
//!
//! A message → `message_notices` → `note.sql` → `pending_notifications` → `decision` → the outbox. What people want:
//! `routes` → [`Service`] → `repository`.

mod attention;
mod backlog;
mod bodies;
mod config;
mod decision;
mod error;
mod events;
mod invitations;
mod model;
mod quiet;
mod repository;
mod routes;
mod service;
mod telling;
#[cfg(test)]
mod tests;

pub use attention::{Attention, AttentionUnavailable};
pub use backlog::watch as watch_backlog;
pub use config::Config;
pub use error::NotificationsError;
pub(super) use events::events;
pub use events::settle_read;
pub use invitations::Invitations;
pub use routes::{openapi, routes};
pub use service::Service;
pub use telling::Teller;
