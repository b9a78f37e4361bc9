//! The settings of accounts, and which of them contradict each other.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use argon2::Params;
use chrono::TimeDelta;
use serde::Deserialize;

use crate::ports::throttle::Limit;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Life of an access token.
    pub access_ttl_seconds: u32,
    /// Life of a session from its login, however often it is refreshed.
    pub refresh_ttl_days: u32,
    /// One login more ends the session that was used longest ago.
    pub sessions_per_user_max: u32,
    /// Argon2id's `m`.
    pub hashing_memory_kib: u32,
    /// Argon2id's `t`.
    pub hashing_passes: u32,
    /// Argon2id's `p`.
    pub hashing_lanes: u32,
    /// Passwords hashed at once.
    pub hashing_concurrency: usize,
    /// Passwords that may wait for that.
    pub hashing_queue_max: usize,
    pub login_failures_per_account_and_address_max: u32,
    pub login_failures_per_account_max: u32,
    pub login_failures_per_address_max: u32,
    pub login_window_seconds: u32,
    pub registrations_per_address_max: u32,
    pub registration_window_seconds: u32,
    /// How long ended sessions and used refresh tokens stay in the database.
    pub ended_sessions_kept_days: u32,
}

impl Config {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.access_ttl_seconds > 0, "accounts.access_ttl_seconds must be at least 1");
        ensure!(
            self.access_ttl() < self.refresh_ttl(),
            "accounts.refresh_ttl_days must be longer than accounts.access_ttl_seconds: a refresh comes after"
        );
        ensure!(
            self.access_ttl() < days(self.ended_sessions_kept_days),
            "accounts.ended_sessions_kept_days must be longer than accounts.access_ttl_seconds: a node that starts \
             must learn of each revoked session whose tokens live"
        );
        ensure!(self.sessions_per_user_max > 0, "accounts.sessions_per_user_max must be at least 1");
        ensure!(self.hashing_concurrency > 0, "accounts.hashing_concurrency must be at least 1");
        let limits = [
            ("login_failures_per_account_and_address_max", self.login_failures_per_account_and_address_max),
            ("login_failures_per_account_max", self.login_failures_per_account_max),
            ("login_failures_per_address_max", self.login_failures_per_address_max),
            ("login_window_seconds", self.login_window_seconds),
            ("registrations_per_address_max", self.registrations_per_address_max),
            ("registration_window_seconds", self.registration_window_seconds),
        ];
        for (name, value) in limits {
            ensure!(value > 0, "accounts.{name} must be at least 1: otherwise nobody gets in");
        }
        ensure!(
            self.login_failures_per_account_and_address_max <= self.login_failures_per_account_max,
            "accounts.login_failures_per_account_max must not be below login_failures_per_account_and_address_max: \
             one stranger could lock an account out"
        );
        self.hashing_params().map(drop)
    }

    /// # Errors
    /// When Argon2 does not know such parameters.
    pub fn hashing_params(&self) -> anyhow::Result<Params> {
        Params::new(self.hashing_memory_kib, self.hashing_passes, self.hashing_lanes, None)
            .map_err(|error| anyhow::anyhow!(error))
            .context("accounts.hashing_memory_kib, hashing_passes and hashing_lanes do not go together")
    }

    #[must_use]
    pub fn access_ttl(&self) -> Duration {
        Duration::from_secs(self.access_ttl_seconds.into())
    }

    #[must_use]
    pub fn refresh_ttl(&self) -> Duration {
        days(self.refresh_ttl_days)
    }

    pub(super) fn ended_sessions_kept(&self) -> TimeDelta {
        TimeDelta::days(self.ended_sessions_kept_days.into())
    }

    pub(super) fn per_account_and_address(&self) -> Limit {
        self.logins(self.login_failures_per_account_and_address_max)
    }

    pub(super) fn per_account(&self) -> Limit {
        self.logins(self.login_failures_per_account_max)
    }

    pub(super) fn per_address(&self) -> Limit {
        self.logins(self.login_failures_per_address_max)
    }

    pub(super) fn registrations(&self) -> Limit {
        let window = Duration::from_secs(self.registration_window_seconds.into());
        Limit { max: self.registrations_per_address_max, window }
    }

    fn logins(&self, max: u32) -> Limit {
        Limit { max, window: Duration::from_secs(self.login_window_seconds.into()) }
    }
}

fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 60 * 60)
}

#[cfg(test)]
mod tests {
    use super::Config;

    type Change = fn(&mut Config);

    fn defaults() -> Config {
        let mut settings: toml::Table = toml::from_str(crate::config::DEFAULT_TOML).unwrap();
        settings.remove("accounts").unwrap().try_into().unwrap()
    }

    #[test]
    fn the_defaults_go_together_and_contradictions_are_named() {
        defaults().check().unwrap();
        let contradictions: [(Change, &str); 8] = [
            (|config| config.access_ttl_seconds = 0, "access_ttl_seconds"),
            (|config| config.access_ttl_seconds = 30 * 24 * 3600, "refresh_ttl_days"),
            (|config| config.ended_sessions_kept_days = 0, "ended_sessions_kept_days"),
            (|config| config.sessions_per_user_max = 0, "sessions_per_user_max"),
            (|config| config.hashing_concurrency = 0, "hashing_concurrency"),
            (|config| config.hashing_memory_kib = 1, "hashing_memory_kib"),
            (|config| config.login_window_seconds = 0, "login_window_seconds"),
            (|config| config.login_failures_per_account_max = 4, "login_failures_per_account_max"),
        ];
        for (change, name) in contradictions {
            let mut config = defaults();
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
