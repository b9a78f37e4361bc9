//! How the world reaches us: HTTP, WebSocket, and the internal listener. Knows no feature.

pub mod auth;
pub mod http;
pub mod ops;
mod verified;
pub mod ws;
