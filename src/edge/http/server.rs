//! Accepts connections and serves the API on them.

use std::net::SocketAddr;

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    pub internal_listen: SocketAddr,
    pub allowed_origins: Vec<String>,
    pub trusted_proxies: Vec<String>,
    pub handshakes_max: usize,
    pub header_timeout_ms: u64,
    pub request_timeout_ms: u64,
    pub body_bytes_max: usize,
    pub drain_ms: u64,
    pub stop_timeout_ms: u64,
}
