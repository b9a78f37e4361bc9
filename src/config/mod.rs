//! All settings, from four layers: built-in defaults, an overlay file, the environment, secret files.
//!
//! Each module owns its own `Config`; this one puts them together and refuses contradictions, because a
//! node that boots with a setting it does not understand fails later, and less clearly.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::features::{
    accounts, channels, devices, linking, messages, notifications, presence, status, uploads,
};
use crate::ports::{push, redis, throttle};
use crate::{db, delivery, documents, edge, telemetry};

/// The commented defaults, as `fanlight print-default-config` prints them.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

const ENV_PREFIX: &str = "FANLIGHT";
const ENV_SEPARATOR: &str = "__";
const FILE_SUFFIX: &str = "_FILE";
/// Variables that everybody who speaks OpenTelemetry knows, and what they set here unless ours do.
const WELL_KNOWN: [(&str, &str); 2] =
    [("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.endpoint"), ("OTEL_SERVICE_NAME", "telemetry.service_name")];

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
    pub channels: channels::Config,
    pub messages: messages::Config,
    pub uploads: uploads::Config,
    pub notifications: notifications::Config,
    pub presence: presence::Config,
    pub documents: documents::Config,
    pub log: telemetry::logs::Config,
    pub telemetry: telemetry::traces::Config,
}

impl Config {
    /// Reads all layers and checks them against each other.
    ///
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn load(overlay: Option<&Path>) -> anyhow::Result<Self> {
        Self::from_layers(overlay, std::env::vars_os())
    }

    fn from_layers(
        overlay: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
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
        self.delivery.check_beside(self.postgres.connections_max, self.sockets.queue_frames_max)?;
        self.accounts.check()?;
        self.throttle.check()?;
        self.linking.check()?;
        self.status.check()?;
        self.devices.check()?;
        self.channels.check()?;
        self.messages.check()?;
        self.uploads.check(self.is_production())?;
        self.notifications.check()?;
        self.presence.check()?;
        if self.messages.changes_kept_max < self.delivery.rooms.replay_changes_max {
            bail!(
                "messages.changes_kept_max must be at least delivery.rooms.replay_changes_max: what is replayed must be there"
            );
        }
        self.telemetry.check()
    }
}

/// The settings in the environment, as `section.key` and value; `…_FILE` is replaced by what the file holds.
fn overrides(
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> anyhow::Result<BTreeMap<String, config::Value>> {
    let prefix = format!("{ENV_PREFIX}{ENV_SEPARATOR}");
    let defaults = default_table();
    let (mut found, mut well_known) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in env {
        // Other programs may keep in their variables what they like, even what is not text.
        let Some(name) = name.to_str() else { continue };
        if let Some((_, key)) = WELL_KNOWN.iter().find(|(known, _)| *known == name) {
            let value = value.into_string().map_err(|_| anyhow::anyhow!("{name} is not UTF-8"))?;
            well_known.insert((*key).to_owned(), config::Value::from(value));
            continue;
        }
        let Some(path) = name.strip_prefix(&prefix) else { continue };
        let value = value.into_string().map_err(|_| anyhow::anyhow!("{name} is not UTF-8"))?;
        let (path, text) = match path.strip_suffix(FILE_SUFFIX) {
            Some(path) => (path, read_secret(name, Path::new(&value))?),
            None => (path, value),
        };
        let key = path.to_lowercase().replace(ENV_SEPARATOR, ".");
        let value = if is_list(&defaults, &key) { parse_list(name, &text)? } else { text.into() };
        if found.insert(key, value).is_some() {
            bail!("{prefix}{path} and {prefix}{path}{FILE_SUFFIX} are both set: which one is meant?");
        }
    }
    // Of two values for a key, the later one counts.
    well_known.append(&mut found);
    Ok(well_known)
}

fn read_secret(name: &str, path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{name} names {}, which cannot be read", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn default_table() -> toml::Table {
    DEFAULT_TOML.parse().expect("a test parses it")
}

/// Whether a setting holds a list. Only such a value is read as TOML: anything else is text until its type is
/// known, so that a password may look like a number.
fn is_list(defaults: &toml::Table, key: &str) -> bool {
    let mut sections: Vec<&str> = key.split('.').collect();
    let last = sections.pop().unwrap_or_default();
    let section = sections.iter().try_fold(defaults, |table, section| table.get(*section)?.as_table());
    section.and_then(|section| section.get(last)).is_some_and(toml::Value::is_array)
}

fn parse_list(name: &str, text: &str) -> anyhow::Result<config::Value> {
    #[derive(Deserialize)]
    struct Wrapper {
        value: config::Value,
    }
    // What is wrong with it is not repeated: the list may hold keys.
    config::Config::builder()
        .add_source(config::File::from_str(&format!("value = {text}"), config::FileFormat::Toml))
        .build()
        .and_then(config::Config::try_deserialize::<Wrapper>)
        .map(|wrapper| wrapper.value)
        .map_err(|_| anyhow::anyhow!("{name} must be a list as TOML writes it, such as [\"one\", \"other\"]"))
}

#[cfg(test)]
mod tests;
