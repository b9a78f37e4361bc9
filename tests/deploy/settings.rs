//! Settings as a deployment gives them to a node, and what the defaults mean for it.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use fanlight::config::{Config, DEFAULT_TOML};
use fanlight::dev::fcm::service_account;
use fanlight::domain::tokens::{KeyAlgorithm, generate_private_key};

/// What the node writes down last may take so long: `db::soon_or_again`.
const LAST_WRITE: Duration = Duration::from_secs(3);

pub fn defaults() -> Config {
    toml::from_str(DEFAULT_TOML).unwrap()
}

/// And its last spans, to a collector that does not answer: `telemetry::traces`.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// How long a node takes at most from its signal to its end, as in `App::stop`.
pub fn longest_stop() -> Duration {
    let server = defaults().server;
    let drain_ms = server.drain_ms.max(server.stop_timeout_ms);
    Duration::from_millis(server.drain_notice_ms + drain_ms + server.stop_timeout_ms)
        + LAST_WRITE
        + LAST_SPANS
}

/// Fails if a node would refuse these settings, which name files in `secrets`: those that every deployment has, and
/// `more` of its own.
#[track_caller]
pub fn accepted(env: &BTreeMap<String, String>, secrets: &str, more: &[(&str, &str)]) {
    assert!(!env.is_empty());
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().to_str().unwrap();
    let account = service_account("project", "https://oauth2.googleapis.com/token");
    let files = [
        ("postgres-url", "postgres://fanlight:secret@postgres:5432/fanlight".to_owned()),
        ("redis-url", "redis://redis:6379".to_owned()),
        ("auth-key", generate_private_key(KeyAlgorithm::ES256)),
        ("auth.pem", generate_private_key(KeyAlgorithm::ES256)),
        ("fcm.json", account.to_string()),
        ("s3-access-key-id", "id".to_owned()),
        ("s3-secret-access-key", "secret".to_owned()),
    ];
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    for (name, text) in more {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let env = env.iter().map(|(name, value)| (name, value.replace(secrets, here)));
    let output = Command::new(env!("CARGO_BIN_EXE_fanlight"))
        .arg("check-config")
        .env_clear()
        .envs(env)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
