//! What a client says about rooms on its socket: that it wants to hear one, no longer, and that somebody is typing.

use std::sync::Arc;

use async_trait::async_trait;

use crate::delivery::rooms::Rooms;
use crate::domain::clock::SharedClock;
use crate::domain::ids::{ChannelId, UserId};
use crate::edge::ws::Handler;
use crate::shutdown::Shutdown;

mod commands;
mod frames;
#[cfg(test)]
mod tests;
mod typing;
mod typists;

pub use commands::{RoomCommand, described as commands};
pub use frames::{PassingFrame, described as frames};

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The room does not exist, or the user may not know of it.
    Hidden,
    Forbidden,
    /// Nobody can tell now.
    Unavailable,
}

/// Knows who may do what. Whoever owns the rooms implements it.
#[async_trait]
pub trait Doorkeeper: Send + Sync {
    async fn may_subscribe(&self, user: UserId, room: ChannelId) -> Result<(), Denied>;

    async fn may_type(&self, user: UserId, room: ChannelId) -> Result<(), Denied>;
}

/// What handles these commands on a node.
#[must_use]
pub fn start(
    rooms: Rooms,
    doorkeeper: Arc<dyn Doorkeeper>,
    clock: SharedClock,
    shutdown: &Shutdown,
) -> Arc<dyn Handler> {
    let typing = typing::Typing::start(rooms.clone(), clock, shutdown);
    Arc::new(commands::Commands { rooms, doorkeeper, typing })
}
