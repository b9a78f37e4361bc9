//! Rooms of two, twenty and five hundred people who write to each other.
//!
//! [`room`] is one of them, with a [`member`] for each phone and the [`minutes`] of all that was said; [`talk`] says it at
//! fixed times. Each member must hear every message once and in order, whatever happens to its connection.

pub mod frame;
mod member;
mod minutes;
pub mod room;
pub mod talk;

/// How many people the rooms have, by turns.
const SIZES: [usize; 10] = [2, 20, 2, 2, 20, 2, 500, 2, 20, 2];

/// How many people the room of this number has.
pub fn size_of(number: usize) -> usize {
    SIZES[number % SIZES.len()]
}
