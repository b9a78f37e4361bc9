//! The tables of notifications.
//!
//! Lock order: rows of what is to be told, by user and conversation; users' rows by their ids; inboxes by user. Whoever decides,
//! or changes preferences, takes only rows that nobody has; only who notes waits for them, and holds nothing else.

pub mod deciding;
pub mod noting;
pub mod preferences;
