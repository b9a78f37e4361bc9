//! What must hold whatever a stranger sends: one function per target, which panics when it does not.
//!
//! libFuzzer calls them (`cargo +nightly fuzz run frames`), and so does `tests/fuzz.rs` of the main package, which replays
//! the corpus and a bounded number of changes to it in every build.

mod commands;
mod frames;
mod tokens;

pub use commands::commands;
pub use frames::frames;
pub use tokens::tokens;
