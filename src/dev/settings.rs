//! What all nodes of a private cluster are told: one overlay file in the state directory.
//!
//! A file, not the environment, so that other commands can use it too:
//! `fanlight token --config STATE/fanlight.toml …`.

use std::path::PathBuf;

use serde_json::json;

use super::state::{self, StateDir};
use crate::domain::tokens::{self, KeyAlgorithm};

/// Long enough that the tokens a developer copies from the terminal work all day.
const ACCESS_TTL_SECONDS: u64 = 24 * 60 * 60;
/// Nobody wants to wait for a polite goodbye after Ctrl-C.
const DRAIN_MS: u64 = 500;
/// Twice the interval of `HAProxy`'s looks, and time for the look itself on a busy machine.
const DRAIN_NOTICE_MS: u64 = 1_200;
const STOP_TIMEOUT_MS: u64 = 3_000;
/// As many as a node takes anyway.
const CONNECTIONS_MAX: u64 = 100_000;

/// Where the stores of the cluster are.
pub struct Stores<'a> {
    pub postgres: &'a str,
    pub redis: &'a str,
    pub fcm: &'a str,
    /// The service account that the fake FCM knows, as JSON.
    pub fcm_account: &'a str,
}

/// Writes the overlay file for nodes behind `port` of this machine, with one signing key for all nodes that is made at the first start.
///
/// # Errors
/// When the state directory cannot be written.
pub fn write(state: &StateDir, stores: &Stores<'_>, port: u16) -> anyhow::Result<PathBuf> {
    let key = state.path().join("auth.pem");
    if !key.exists() {
        state::write_secret(&key, &tokens::generate_private_key(KeyAlgorithm::ES256))?;
    }
    let uploads = state.path().join("uploads");
    std::fs::create_dir_all(&uploads)?;
    let account = state.path().join("fcm-account.json");
    state::replace_secret(&account, stores.fcm_account)?;
    let settings = json!({
        "environment": "development",
        "server": {
            // Its page opens sockets at the nodes themselves, too.
            "allowed_origins": [format!("http://127.0.0.1:{port}"), format!("http://localhost:{port}")],
            "trusted_proxies": ["127.0.0.1"],
            "drain_notice_ms": DRAIN_NOTICE_MS,
            "drain_ms": DRAIN_MS,
            "stop_timeout_ms": STOP_TIMEOUT_MS,
        },
        // Everybody comes from this machine.
        "sockets": {
            "connections_per_address_max": CONNECTIONS_MAX,
            "unauthenticated_per_address_max": CONNECTIONS_MAX,
        },
        "auth": { "keys": [{ "kid": "dev", "algorithm": "ES256", "private_key_file": key }] },
        "accounts": { "access_ttl_seconds": ACCESS_TTL_SECONDS },
        "postgres": { "url": stores.postgres },
        "redis": { "url": stores.redis },
        "uploads": { "store": format!("file://{}", uploads.display()) },
        "push": { "fcm": { "enabled": true, "base_url": stores.fcm, "service_account_file": account } },
    });
    let file = state.path().join("fanlight.toml");
    state::replace_secret(&file, &toml::to_string(&settings)?)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::dev::fcm;
    use crate::shutdown::Shutdown;

    #[tokio::test]
    async fn a_node_accepts_what_it_is_told() {
        let state = StateDir::scratch().unwrap();
        let shutdown = Shutdown::new();
        let fcm = fcm::start(&shutdown, ([127, 0, 0, 1], 0).into(), fcm::Config::default()).await.unwrap();
        let stores = Stores {
            postgres: "postgres://fanlight:secret@127.0.0.1:20000/fanlight",
            redis: "redis://127.0.0.1:20001/",
            fcm: &fcm.url(),
            fcm_account: fcm.service_account(),
        };

        let config = Config::load(Some(&write(&state, &stores, 8080).unwrap())).unwrap();

        assert!(config.auth.key_ring().is_ok());
        assert!(config.push.fcm.enabled);
        shutdown.stop();
    }
}
