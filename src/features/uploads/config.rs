//! The settings of uploads, and which of them contradict each other.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::features::uploads::kinds::Kind;
use crate::ports::blobs::{Blobs, Location, S3Config};
use crate::ports::throttle::Limit;

const MINUTE: Duration = Duration::from_mins(1);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The URL of a directory or a bucket; empty: nobody uploads anything.
    pub store: String,
    pub s3: S3Config,
    /// Of one file.
    pub bytes_max: u64,
    /// What is received and served, of the types that we know.
    pub content_types: Vec<String>,
    /// Of all files of one person that are not over.
    pub quota_bytes_per_user: u64,
    /// Files of one person.
    pub per_minute_max: u32,
    /// Files that one node receives at once.
    pub receiving_max: usize,
    /// Of these, of one person.
    pub receiving_per_user_max: usize,
    /// Files that one node sends at once.
    pub sending_max: usize,
    /// Of these, to one person.
    pub sending_per_user_max: usize,
    /// How long one file may take, either way.
    pub transfer_timeout_ms: u64,
    /// How long a file waits to be attached.
    pub unattached_ttl_seconds: u64,
    /// How often a node looks for files that are over.
    pub sweep_poll_seconds: u64,
    /// How many of them it takes on at once.
    pub sweep_batch_max: u32,
}

impl Config {
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self, production: bool) -> anyhow::Result<()> {
        let limits = [
            ("bytes_max", self.bytes_max),
            ("per_minute_max", self.per_minute_max.into()),
            ("receiving_max", self.receiving_max as u64),
            ("receiving_per_user_max", self.receiving_per_user_max as u64),
            ("sending_max", self.sending_max as u64),
            ("sending_per_user_max", self.sending_per_user_max as u64),
            ("transfer_timeout_ms", self.transfer_timeout_ms),
            ("unattached_ttl_seconds", self.unattached_ttl_seconds),
            ("sweep_poll_seconds", self.sweep_poll_seconds),
            ("sweep_batch_max", self.sweep_batch_max.into()),
        ];
        for (name, value) in limits {
            ensure!(value > 0, "uploads.{name} must be at least 1");
        }
        ensure!(
            self.bytes_max <= self.quota_bytes_per_user && i64::try_from(self.quota_bytes_per_user).is_ok(),
            "uploads.quota_bytes_per_user must be at least uploads.bytes_max, and at most 2^63 - 1"
        );
        for content_type in &self.content_types {
            ensure!(
                Kind::named(content_type).is_some(),
                "uploads.content_types: `{content_type}` is none of {}",
                Kind::names().join(", ")
            );
        }
        if self.store.is_empty() {
            return Ok(());
        }
        match Location::parse(&self.store).context("uploads.store")? {
            Location::S3 { .. } => self.s3.check(production),
            Location::Directory(_) => Ok(()),
        }
    }

    /// The store; None: uploads are off.
    ///
    /// # Errors
    /// One sentence: what is wrong with it.
    pub fn open(&self) -> anyhow::Result<Option<Blobs>> {
        if self.store.is_empty() {
            return Ok(None);
        }
        Blobs::open(&self.store, &self.s3).context("uploads.store").map(Some)
    }

    pub(super) fn uploads(&self) -> Limit {
        Limit { max: self.per_minute_max, window: MINUTE }
    }

    pub(super) fn transfer_timeout(&self) -> Duration {
        Duration::from_millis(self.transfer_timeout_ms)
    }

    pub(super) fn unattached_ttl(&self) -> Duration {
        Duration::from_secs(self.unattached_ttl_seconds)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;

    use super::Config;

    /// The defaults, but for these lines.
    fn with(lines: &str) -> Config {
        let mut settings: toml::Table = toml::from_str(crate::config::DEFAULT_TOML).unwrap();
        let mut uploads = settings.remove("uploads").unwrap().as_table().cloned().unwrap();
        uploads.extend(toml::from_str::<toml::Table>(lines).unwrap());
        Config::deserialize(uploads).unwrap()
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        with("").check(true).unwrap();
        for (sentence, change) in [
            ("uploads.receiving_max", "receiving_max = 0"),
            ("uploads.quota_bytes_per_user", "quota_bytes_per_user = 1"),
            ("uploads.content_types: `text/html`", "content_types = ['image/png', 'text/html']"),
            ("uploads.content_types: `image/svg+xml`", "content_types = ['image/svg+xml']"),
            ("uploads.store", "store = '/var/lib/fanlight'"),
            ("uploads.s3.access_key_id", "store = 's3://files'"),
        ] {
            let refusal = format!("{:#}", with(change).check(true).unwrap_err());
            assert!(refusal.contains(sentence), "{refusal}");
        }
    }

    #[test]
    fn without_a_store_there_are_no_uploads() {
        assert!(with("").open().unwrap().is_none());
    }
}
