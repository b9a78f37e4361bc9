//! The tables of notifications.
//!
//! Lock order: the user's row; rows of what is to be told, by user and conversation; inboxes by user. Whoever decides takes
//! only rows that nobody has, and whoever notes waits for them in their order.

pub mod deciding;
pub mod noting;
pub mod preferences;
