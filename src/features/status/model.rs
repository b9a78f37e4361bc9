//! What a traffic light shows, and for how long.

use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    Available,
    Busy,
    /// What everybody is before their first change.
    Offline,
}

impl Status {
    pub const ALL: [Self; 3] = [Self::Available, Self::Busy, Self::Offline];

    /// As the API and the database spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "AVAILABLE",
            Self::Busy => "BUSY",
            Self::Offline => "OFFLINE",
        }
    }

    /// Reads what the database holds.
    ///
    /// # Errors
    /// For a text that the column's CHECK does not admit.
    pub(super) fn from_column(text: &str) -> Result<Self, sqlx::Error> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| sqlx::Error::Decode(format!("`{text}` is not a status").into()))
    }
}

/// How long a status holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    pub expires_at: Timestamp,
    /// What was asked for, not what is left.
    pub duration_seconds: u32,
}

/// What one person shows now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Light {
    pub status: Status,
    pub timer: Option<Timer>,
}

impl Light {
    /// What is seen at `now`: from its last instant on, a timed status is over, whether or not the job has
    /// come by already.
    #[must_use]
    pub fn at(self, now: Timestamp, base: Status) -> Self {
        match self.timer {
            Some(timer) if timer.expires_at <= now => Self { status: base, timer: None },
            _ => self,
        }
    }
}

/// A person as they see themselves, and as their partner sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub id: UserId,
    pub display_name: Option<String>,
    pub partner: Option<UserId>,
    pub light: Light,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_timed_status_is_over_at_its_last_instant() {
        let end = chrono::DateTime::from_timestamp(1_710_930_000, 0).unwrap();
        let busy =
            Light { status: Status::Busy, timer: Some(Timer { expires_at: end, duration_seconds: 60 }) };
        assert_eq!(busy.at(end - Duration::from_micros(1), Status::Available), busy);
        assert_eq!(busy.at(end, Status::Available), Light { status: Status::Available, timer: None });
    }
}
