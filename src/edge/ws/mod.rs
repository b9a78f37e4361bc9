//! The socket: the one place where clients hear of events.
//!
//! [`upgrade`] turns an HTTP request into a connection, [`socket`] reads and writes messages on it,
//! [`session`] decides (without I/O) what each message, event and passing of time means, and
//! [`connection`] does what it decided. [`sockets`] is what the connections of a node share. Of the features it knows the
//! names of their [`commands`], which wait in [`desks`].

mod action;
mod admission;
mod allowance;
pub mod close;
pub mod commands;
mod config;
mod connection;
pub mod continued;
pub mod described;
mod desks;
mod errors;
mod frames;
mod json;
mod meter;
pub mod parameters;
pub mod protocol;
mod registration;
mod replay;
mod session;
pub mod socket;
mod sockets;
#[cfg(test)]
mod tests;
mod traffic;
pub mod upgrade;
mod wheel;

pub use commands::{Answer, Call, Fields, Handler, Refusal};
pub use config::Config;
pub use replay::Replay;
pub use sockets::{Parts, Sockets};
pub use upgrade::{handshake, routes};
