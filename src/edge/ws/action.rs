//! What a session has decided, for its connection to do.

use bytes::Bytes;

use crate::edge::ws::close::Closing;
use crate::edge::ws::protocol::Auth;

/// What the connection should do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    Write(Bytes),
    /// Let a feature handle this command, if one knows it.
    Call(String),
    /// Everything up to this seq is with the client.
    Confirm(i64),
    /// Verify a new token for this connection, then write the answer.
    Renew {
        auth: Auth,
        answer: Bytes,
    },
    Close(Closing),
    /// Answer the client's close frame with the same code, and end.
    CloseBack(Option<u16>),
}
