//! The socket: the one place where clients hear of events.
//!
//! [`upgrade`] turns an HTTP request into a connection, [`socket`] reads and writes messages on it,
//! [`session`] decides (without I/O) what each message, event and passing of time means, and
//! [`connection`] does what it decided. [`sockets`] is what the connections of a node share.

mod admission;
mod allowance;
pub mod close;
mod config;
mod connection;
pub mod continued;
pub mod described;
mod frames;
mod json;
mod meter;
pub mod parameters;
pub mod protocol;
mod replay;
mod session;
pub mod socket;
mod sockets;
#[cfg(test)]
mod tests;
mod traffic;
pub mod upgrade;
mod wheel;

pub use config::Config;
pub use replay::Replay;
pub use sockets::{Parts, Sockets};
pub use upgrade::{handshake, routes};
