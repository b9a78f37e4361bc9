//! The words everybody here uses: ids, time, tokens. Pure: no I/O, and nothing of ours imported.

pub mod clock;
pub mod ids;
pub mod random;
pub mod tokens;
