//! What must hold whatever a stranger sends: one function per target, which panics when it does not.
//!
//! libFuzzer calls them, from the committed corpus and from what it makes of it: for a bounded time in `./test`, for as long
//! as one likes with `./test --fuzz SECONDS`. See `docs/edge.md`.

mod commands;
mod frames;
mod tokens;

pub use commands::commands;
pub use frames::frames;
pub use tokens::tokens;
