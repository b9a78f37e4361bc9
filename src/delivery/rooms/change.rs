//! What happens in a room, on its way to those who subscribe.

use bytes::Bytes;

use crate::domain::ids::UserId;

/// Something that has a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Frame(Bytes),
    /// The user is not a member any more.
    Expelled(UserId),
}

/// Worth something only now. If it is about one user, who need not hear it, that is `except`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passing {
    pub except: Option<UserId>,
    pub frame: Bytes,
}

/// For everybody who has been told all up to `after`: then they have been told all up to `up_to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub after: i64,
    pub up_to: i64,
    /// In order.
    pub frames: Vec<(i64, Bytes)>,
}
