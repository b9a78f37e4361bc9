//! What a conversation is told of its messages, and what one's own devices are told of one's reading.

mod examples;
mod reading;
mod room;

pub(in crate::features) use reading::events;
pub use reading::{SelfReadMarker, read};
pub(in crate::features) use room::room_events;
pub use room::{changed, created};
