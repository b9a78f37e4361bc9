//! The settings of sockets.

use std::time::Duration;

use anyhow::bail;
use serde::Deserialize;

use crate::delivery::mailbox::Bounds;
use crate::edge::ws::allowance::{FRAME_HEADER_BYTES, Rate, Rates};
use crate::edge::ws::socket::Limits;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A connection that was silent this long is sent a ping.
    pub heartbeat_ms: u64,
    /// A connection that leaves a ping unanswered this long is taken for dead.
    pub pong_timeout_ms: u64,
    /// A connection that has lasted this long, and up to a tenth more, is closed, and resumes.
    pub age_max_ms: u64,
    /// How long a client that sends its token in the first frame has for it.
    pub auth_timeout_ms: u64,
    /// A client that takes no bytes for this long is closed, and resumes.
    pub write_timeout_ms: u64,
    /// Frames that may wait for one connection.
    pub queue_frames_max: usize,
    /// Bytes that may wait for one connection.
    pub queue_bytes_max: usize,
    /// The largest message a client may send, over all its fragments.
    pub message_bytes_max: usize,
    /// The most fragments a message may have.
    pub fragments_max: usize,
    /// How long a message may take from its first fragment to its last.
    pub assembly_timeout_ms: u64,
    /// Messages (of any kind but pongs) a client may send per second, over time.
    pub messages_per_second: u32,
    /// Messages a client may send at once.
    pub messages_burst: u32,
    /// Pings a client may send per second, over time; each is a message too.
    pub pings_per_second: u32,
    /// Pings a client may send at once.
    pub pings_burst: u32,
    /// Bytes of frames of any kind a client may send per second, over time.
    pub bytes_per_second: u32,
    /// Bytes a client may send at once.
    pub bytes_burst: u32,
    /// Commands of one connection that may wait for features; further ones are refused.
    pub commands_queued_max: usize,
    /// Connections that one node takes; further ones are answered 503.
    pub connections_max: usize,
    /// Connections that one user may have on one node; further ones are closed.
    pub connections_per_user_max: usize,
    /// Connections that one address (a /64 of IPv6) may have on one node; further ones are answered 429.
    pub connections_per_address_max: usize,
    /// Of these, how many may not have shown a valid token yet.
    pub unauthenticated_per_address_max: usize,
    /// Connections that one node lets in at once: known, but not through with what they missed. Further ones are
    /// answered 503.
    pub beginning_max: usize,
    /// Connections that one node takes per second, over time; further ones are answered 503.
    pub handshakes_per_second: u32,
    /// Connections that one node takes at once.
    pub handshakes_burst: u32,
    /// Memory for what waits for all connections of a node, and for what their clients have sent of messages that are
    /// not complete; beyond it those that hold the most are closed.
    pub memory_bytes_max: usize,
}

impl Config {
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        let times = [
            self.heartbeat_ms,
            self.pong_timeout_ms,
            self.age_max_ms,
            self.auth_timeout_ms,
            self.write_timeout_ms,
            self.assembly_timeout_ms,
        ];
        if times.contains(&0) {
            bail!("sockets: every …_ms must be at least 1");
        }
        let counts = [
            self.queue_frames_max,
            self.message_bytes_max,
            self.fragments_max,
            self.messages_per_second as usize,
            self.messages_burst as usize,
            self.pings_per_second as usize,
            self.pings_burst as usize,
            self.commands_queued_max,
            self.bytes_per_second as usize,
            self.connections_max,
            self.connections_per_user_max,
            self.connections_per_address_max,
            self.unauthenticated_per_address_max,
            self.beginning_max,
            self.handshakes_per_second as usize,
            self.handshakes_burst as usize,
        ];
        if counts.contains(&0) {
            bail!("sockets: every …_max, …_per_second and …_burst must be at least 1");
        }
        if self.memory_bytes_max < self.queue_bytes_max {
            bail!(
                "sockets.memory_bytes_max must be at least sockets.queue_bytes_max: one connection's queue has to fit"
            );
        }
        if self.queue_bytes_max < self.message_bytes_max {
            bail!("sockets.queue_bytes_max must be at least sockets.message_bytes_max: one event has to fit");
        }
        if (self.bytes_burst as usize) < self.message_bytes_max + FRAME_HEADER_BYTES {
            bail!("sockets.bytes_burst must be more than sockets.message_bytes_max: one message has to fit");
        }
        Ok(())
    }

    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            message_bytes_max: self.message_bytes_max,
            fragments_max: self.fragments_max,
            assembly_timeout: Duration::from_millis(self.assembly_timeout_ms),
        }
    }

    #[must_use]
    pub fn rates(&self) -> Rates {
        let messages = Rate { per_second: self.messages_per_second, burst: self.messages_burst };
        let pings = Rate { per_second: self.pings_per_second, burst: self.pings_burst };
        let bytes = Rate { per_second: self.bytes_per_second, burst: self.bytes_burst };
        Rates { messages, pings, bytes }
    }

    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds { frames_max: self.queue_frames_max, bytes_max: self.queue_bytes_max }
    }
}
