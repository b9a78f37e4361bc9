//! Free TCP ports on 127.0.0.1.
//!
//! Taken from below the range that Linux gives to outgoing connections (32768 and up): a port that a server
//! leaves for a moment must still be free when it comes back, while thousands of clients connect.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::LazyLock;

use anyhow::bail;
use parking_lot::Mutex;

use crate::domain::random;

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;
const ATTEMPTS: usize = 200;

/// What this process has given out: two servers that start at once must not get the same.
static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port that nobody listens on, and that this process gives out only once.
///
/// # Errors
/// When no free port is found in many attempts.
pub fn free() -> anyhow::Result<u16> {
    for _ in 0..ATTEMPTS {
        let port = FIRST + u16::from_le_bytes(random::bytes()) % COUNT;
        if is_free(port) && TAKEN.lock().insert(port) {
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// Whether a server could listen on 127.0.0.1:`port` now.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_out_twice() {
        let ports: HashSet<u16> = (0..50).map(|_| free().unwrap()).collect();

        assert_eq!(ports.len(), 50);
    }
}
