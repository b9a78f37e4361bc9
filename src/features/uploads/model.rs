//! A file, and who may read it.

use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChannelId, UploadId, UserId};
use crate::features::uploads::kinds::Kind;

/// What somebody is about to send.
#[derive(Debug)]
pub struct Offer {
    pub name: String,
    pub kind: &'static Kind,
    /// How long it is, if the client says so.
    pub bytes: Option<u64>,
}

/// A file that has arrived as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub id: UploadId,
    pub name: String,
    pub content_type: String,
    pub bytes: u64,
    pub sha256: Vec<u8>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has attached it: it is its sender's alone.
    Unattached(UserId),
    /// To a message of this conversation.
    Attached { channel: ChannelId, sender: Option<UserId> },
}

/// What came, as it was measured on the way.
#[derive(Debug)]
pub struct Received {
    pub bytes: u64,
    pub sha256: Vec<u8>,
}
