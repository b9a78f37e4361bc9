//! Those who follow conversations live, on every node.

use bytes::Bytes;

use crate::delivery::rooms::{RoomFrame, Rooms};
use crate::domain::ids::ChannelId;

/// Who is told after a commit. Neither may block. Tests listen to it without a socket.
pub trait Audience: Send + Sync + 'static {
    /// A change with a place among all that the conversation saw: what is lost on the way is read from the `Log`.
    fn tell(&self, frame: RoomFrame);

    /// Something that is not repeated to who missed it.
    fn tell_in_passing(&self, channel: ChannelId, kind: &'static str, frame: Bytes);
}

impl Audience for Rooms {
    fn tell(&self, frame: RoomFrame) {
        self.publish(frame);
    }

    fn tell_in_passing(&self, channel: ChannelId, kind: &'static str, frame: Bytes) {
        self.publish_passing(channel, None, kind, frame);
    }
}
