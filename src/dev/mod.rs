//! The whole cluster on one machine, for people who want to see it and for the tests.
//!
//! Postgres, Redis and `HAProxy` are private child processes on free ports of 127.0.0.1: a server that already
//! runs on the machine is never touched. Every child is tied to this process by a pipe, so that nothing
//! survives it, however it ends.

pub mod account;
pub mod binaries;
pub mod cluster;
pub mod disk;
pub mod echo;
pub mod faketime;
pub mod fcm;
pub mod haproxy;
pub mod manifest;
pub mod node;
pub mod page;
pub mod people;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod run;
pub mod scrape;
pub mod seed;
pub mod sentinel;
pub mod settings;
pub mod state;
pub mod testing;
pub mod watch;

pub use run::{DevOptions, run};
