//! All settings, from four layers: built-in defaults, an overlay file, the environment, secret files.
//!
//! Each module owns its own `Config`; this one puts them together and refuses contradictions, because a
//! node that boots with a setting it does not understand fails later, and less clearly.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::features::{accounts, devices, linking, status};
use crate::ports::{push, redis, throttle};
use crate::{db, delivery, edge, telemetry};

/// The commented defaults, as `fanlight print-default-config` prints them.
pub const DEFAULT_TOML: &str = include_str!("../config/default.toml");

const ENV_PREFIX: &str = "FANLIGHT";
const ENV_SEPARATOR: &str = "__";
const FILE_SUFFIX: &str = "_FILE";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    Development,
    Production,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub environment: Environment,
    pub server: edge::http::server::Config,
    pub auth: edge::auth::Config,
    pub postgres: db::Config,
    pub redis: redis::Config,
    pub delivery: delivery::Config,
    pub sockets: edge::ws::Config,
    pub push: push::Config,
    pub accounts: accounts::Config,
    pub throttle: throttle::Config,
    pub linking: linking::Config,
    pub status: status::Config,
    pub devices: devices::Config,
    pub log: telemetry::Config,
}

impl Config {
    /// Reads all layers and checks them against each other.
    ///
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn load(overlay: Option<&Path>) -> anyhow::Result<Self> {
        Self::from_layers(overlay, std::env::vars())
    }

    fn from_layers(
        overlay: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> anyhow::Result<Self> {
        let mut layers = config::Config::builder()
            .add_source(config::File::from_str(DEFAULT_TOML, config::FileFormat::Toml));
        if let Some(path) = overlay {
            layers = layers.add_source(config::File::from(path).format(config::FileFormat::Toml));
        }
        for (key, value) in overrides(env)? {
            layers = layers.set_override(&key, value).with_context(|| format!("`{key}` is not a setting"))?;
        }
        let settings: Self = layers
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|error| anyhow::anyhow!("the configuration is not valid: {error}"))?;
        settings.check()?;
        Ok(settings)
    }

    #[must_use]
    pub fn is_production(&self) -> bool {
        self.environment == Environment::Production
    }

    /// Refuses numbers that contradict each other.
    fn check(&self) -> anyhow::Result<()> {
        if self.server.listen == self.server.internal_listen && self.server.listen.port() != 0 {
            bail!("server.listen and server.internal_listen must differ: probes and metrics are not public");
        }
        self.server.check()?;
        self.postgres.check()?;
        self.redis.check()?;
        self.delivery.check()?;
        self.sockets.check()?;
        self.push.fcm.check(self.is_production())?;
        if self.push.fcm.enabled && self.delivery.claim_lease_ms <= 2 * self.push.fcm.timeout_ms {
            bail!(
                "delivery.claim_lease_ms must be more than twice push.fcm.timeout_ms: a claim that ends during a push sends it twice"
            );
        }
        self.accounts.check()?;
        self.linking.check()?;
        self.status.check()?;
        self.devices.check()
    }
}

/// The settings in the environment, as `section.key` and value; `…_FILE` is replaced by what the file holds.
fn overrides(env: impl Iterator<Item = (String, String)>) -> anyhow::Result<Vec<(String, config::Value)>> {
    let prefix = format!("{ENV_PREFIX}{ENV_SEPARATOR}");
    let mut found = Vec::new();
    for (name, value) in env {
        let Some(path) = name.strip_prefix(&prefix) else { continue };
        let (path, text) = match path.strip_suffix(FILE_SUFFIX) {
            Some(path) => (path, read_secret(&name, Path::new(&value))?),
            None => (path, value),
        };
        let key = path.to_lowercase().replace(ENV_SEPARATOR, ".");
        found.push((key, parse_value(&text)));
    }
    Ok(found)
}

fn read_secret(name: &str, path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{name} names {}, which cannot be read", PathBuf::from(path).display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// A TOML value if the text is one (a number, a boolean, a list), otherwise the text itself.
fn parse_value(text: &str) -> config::Value {
    #[derive(Deserialize)]
    struct Wrapper {
        value: config::Value,
    }
    config::Config::builder()
        .add_source(config::File::from_str(&format!("value = {text}"), config::FileFormat::Toml))
        .build()
        .and_then(config::Config::try_deserialize::<Wrapper>)
        .map_or_else(|_| text.into(), |wrapper| wrapper.value)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::domain::tokens::{KeyAlgorithm, generate_private_key};

    fn load(env: &[(&str, &str)]) -> anyhow::Result<Config> {
        Config::from_layers(None, env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn a_service_account_is_read_from_a_file_and_must_be_googles_in_production() {
        let account = serde_json::json!({
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "1",
            "private_key": generate_private_key(KeyAlgorithm::RS256),
            "client_email": "push@project.iam.gserviceaccount.com",
            "token_uri": "http://127.0.0.1:9099/token",
        });
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{account:#}").unwrap();
        let path = file.path().to_str().unwrap();
        let push = [
            ("FANLIGHT__PUSH__FCM__ENABLED", "true"),
            ("FANLIGHT__PUSH__FCM__BASE_URL", "http://127.0.0.1:9099"),
            ("FANLIGHT__PUSH__FCM__SERVICE_ACCOUNT_FILE", path),
        ];
        let with = |key, value| load(&[push[0], push[1], push[2], (key, value)]);

        assert!(load(&push).unwrap_err().to_string().contains("push.fcm.base_url"));
        let development = with("FANLIGHT__ENVIRONMENT", "development").unwrap();
        assert!(development.push.fcm.service_account.is_some());
        with("FANLIGHT__PUSH__FCM__ALLOW_INSECURE_ENDPOINT", "true").unwrap();
    }
}
