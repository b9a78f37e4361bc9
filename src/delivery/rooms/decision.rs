//! What a room has decided, for whoever does the I/O.

use crate::delivery::rooms::change::{Batch, Passing};

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Tell(Batch),
    Pass(Vec<Passing>),
    /// What comes after the one revision, up to the other, is not here.
    Mend {
        after: i64,
        up_to: i64,
    },
    /// Somebody was told less than the others, because there was no memory for it.
    CatchUp {
        after: i64,
        up_to: i64,
    },
    Rest,
}

/// Why a subscriber cannot go live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// More has happened than is kept: read again.
    Behind,
    /// It has lost its seat.
    Expelled,
}

/// How far the room is here, compared with Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Abreast,
    Behind,
    /// Postgres has lost commits.
    Ahead,
}
