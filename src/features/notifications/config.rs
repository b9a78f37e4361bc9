//! The settings of notifications, and which of them contradict each other.

use std::time::Duration;

use anyhow::ensure;
use chrono::TimeDelta;
use serde::Deserialize;

use crate::ports::throttle::Limit;

const MINUTE: Duration = Duration::from_mins(1);
const GATHER_MS_MAX: u32 = 60_000;
const POLL_MS_MAX: u32 = 60_000;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long what is written in a direct conversation is gathered, to be told as one.
    pub gather_direct_ms: u32,
    /// Likewise in a channel, for who wants all of it. A mention is told at once, with what was gathered.
    pub gather_all_ms: u32,
    /// How soon it is looked again whether a device still shows the conversation.
    pub hold_ms: u32,
    /// A device that shows it for so long has shown it, even if nobody marks it as read.
    pub hold_max_ms: u32,
    /// What could not be told for so long is no news.
    pub kept_hours: u32,
    /// How often a node looks for what is due, even if nothing told it of something.
    pub poll_ms: u32,
    /// Messages that one transaction looks at.
    pub notices_batch_max: u32,
    /// Of those who want every message of a channel, how many it notes for each.
    pub listeners_batch_max: u32,
    /// Notifications that one transaction decides.
    pub decisions_batch_max: u32,
    /// Changes of one person's preferences.
    pub changes_per_minute_max: u32,
}

impl Config {
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        for (name, value) in [
            ("hold_ms", self.hold_ms),
            ("kept_hours", self.kept_hours),
            ("notices_batch_max", self.notices_batch_max),
            ("listeners_batch_max", self.listeners_batch_max),
            ("decisions_batch_max", self.decisions_batch_max),
            ("changes_per_minute_max", self.changes_per_minute_max),
        ] {
            ensure!(value > 0, "notifications.{name} must be at least 1");
        }
        ensure!(
            self.gather_direct_ms <= GATHER_MS_MAX && self.gather_all_ms <= GATHER_MS_MAX,
            "notifications.gather_direct_ms and notifications.gather_all_ms must be at most {GATHER_MS_MAX}"
        );
        ensure!(
            (1..=POLL_MS_MAX).contains(&self.poll_ms),
            "notifications.poll_ms must be 1 to {POLL_MS_MAX}"
        );
        ensure!(
            self.kept_hours >= 24,
            "notifications.kept_hours must be at least 24: what waits for the end of quiet hours is news until then"
        );
        ensure!(
            self.hold_max_ms >= self.hold_ms,
            "notifications.hold_max_ms must be at least notifications.hold_ms: it is looked again at least once"
        );
        Ok(())
    }

    pub(super) fn gather_direct(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.gather_direct_ms.into())
    }

    pub(super) fn gather_all(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.gather_all_ms.into())
    }

    pub(super) fn hold(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.hold_ms.into())
    }

    pub(super) fn hold_max(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.hold_max_ms.into())
    }

    pub(super) fn kept(&self) -> TimeDelta {
        TimeDelta::hours(self.kept_hours.into())
    }

    pub(super) fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms.into())
    }

    pub(super) fn changes(&self) -> Limit {
        Limit { max: self.changes_per_minute_max, window: MINUTE }
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn what_contradicts_itself_is_refused_by_name() {
        let defaults: toml::Table = toml::from_str(crate::config::DEFAULT_TOML).unwrap();
        let config = |key: &str, value: i64| -> Config {
            let mut settings = defaults.clone();
            settings["notifications"][key] = value.into();
            settings.remove("notifications").unwrap().try_into().unwrap()
        };
        config("poll_ms", 1000).check().unwrap();
        for (key, value) in [
            ("hold_ms", 0),
            ("hold_max_ms", 1),
            ("kept_hours", 0),
            ("kept_hours", 23),
            ("poll_ms", 0),
            ("poll_ms", 60_001),
            ("gather_direct_ms", 60_001),
            ("gather_all_ms", 60_001),
            ("notices_batch_max", 0),
            ("listeners_batch_max", 0),
            ("decisions_batch_max", 0),
            ("changes_per_minute_max", 0),
        ] {
            let refusal = config(key, value).check().unwrap_err().to_string();
            assert!(refusal.contains(&format!("notifications.{key}")), "{key}: {refusal}");
        }
    }
}
