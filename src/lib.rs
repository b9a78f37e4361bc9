//! Fanlight: a horizontally scaled WebSocket cluster.

pub mod config;
pub mod db;
pub mod delivery;
pub mod domain;
pub mod edge;
pub mod features;
pub mod ports;
pub mod shutdown;
