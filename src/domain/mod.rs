//! The words everybody here uses: ids, time, tokens, how people stand. Pure: no I/O, and nothing of ours imported.

pub mod clock;
pub mod ids;
pub mod random;
pub mod standing;
pub mod tokens;
