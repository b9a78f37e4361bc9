//! Fanlight: a horizontally scaled WebSocket cluster.

pub mod app;
pub mod config;
pub mod db;
pub mod delivery;
#[cfg(any(test, feature = "dev"))]
pub mod dev;
pub mod domain;
pub mod edge;
pub mod failpoint;
pub mod features;
pub mod ports;
pub mod shutdown;
pub mod telemetry;
