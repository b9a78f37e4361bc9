//! How one event reaches one user.

pub mod device_tokens;
pub mod dispatcher;
pub mod event;
pub mod outbox;
pub mod texts;
