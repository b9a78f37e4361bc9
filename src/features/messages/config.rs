//! The settings of messages, and which of them contradict each other.

use std::time::Duration;

use anyhow::ensure;
use serde::Deserialize;

use crate::ports::throttle::Limit;

const MINUTE: Duration = Duration::from_mins(1);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub content_chars_max: usize,
    /// As JSON.
    pub metadata_bytes_max: usize,
    /// Files of one message.
    pub attachments_max: usize,
    /// Names behind `@` that are looked up.
    pub mentions_max: usize,
    /// Reactions of all people to one message.
    pub reactions_max: usize,
    /// What one person may write in one conversation: messages, edits and reactions together.
    pub per_minute_max: u32,
    /// How often one person may move the marker of one conversation.
    pub reads_per_minute_max: u32,
    /// Searches of one person.
    pub searches_per_minute_max: u32,
    /// Of words that more messages hold than this, only the newest messages are searched.
    pub search_matches_max: u32,
    /// So many of those.
    pub search_recent_max: u32,
    /// Edits, deletions and reactions of each conversation that are kept, the newest, for who missed them.
    pub changes_kept_max: u32,
    /// How often a node looks for older ones.
    pub prune_poll_seconds: u64,
    /// How many of them one statement deletes.
    pub prune_batch_max: u32,
}

impl Config {
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        let limits = [
            ("content_chars_max", self.content_chars_max),
            ("metadata_bytes_max", self.metadata_bytes_max),
            ("per_minute_max", self.per_minute_max as usize),
            ("reads_per_minute_max", self.reads_per_minute_max as usize),
            ("searches_per_minute_max", self.searches_per_minute_max as usize),
            ("search_matches_max", self.search_matches_max as usize),
            ("search_recent_max", self.search_recent_max as usize),
            ("prune_batch_max", self.prune_batch_max as usize),
        ];
        for (name, value) in limits {
            ensure!(value > 0, "messages.{name} must be at least 1");
        }
        ensure!(self.prune_poll_seconds > 0, "messages.prune_poll_seconds must be at least 1");
        Ok(())
    }

    pub(super) fn writes(&self) -> Limit {
        Limit { max: self.per_minute_max, window: MINUTE }
    }

    pub(super) fn reads(&self) -> Limit {
        Limit { max: self.reads_per_minute_max, window: MINUTE }
    }

    pub(super) fn searches(&self) -> Limit {
        Limit { max: self.searches_per_minute_max, window: MINUTE }
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn a_limit_of_nothing_is_refused_by_name() {
        let mut settings: toml::Table = toml::from_str(crate::config::DEFAULT_TOML).unwrap();
        let mut config: Config = settings.remove("messages").unwrap().try_into().unwrap();
        config.check().unwrap();
        config.searches_per_minute_max = 0;
        let refusal = config.check().unwrap_err().to_string();
        assert!(refusal.contains("messages.searches_per_minute_max"), "{refusal}");
    }
}
