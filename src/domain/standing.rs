//! Whether somebody is online, away or offline, as others are told.

use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    /// Some connection of the user lives, and has not said that nobody looks at it.
    Online,
    /// All living connections have said so.
    Away,
    /// There has been none for a while.
    Offline,
}

impl Availability {
    pub const ALL: [Self; 3] = [Self::Online, Self::Away, Self::Offline];

    /// As the API and the database spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Away => "away",
            Self::Offline => "offline",
        }
    }
}

/// How a user stands after a change. Of two, the one with the higher revision is the later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub user: UserId,
    pub availability: Availability,
    /// When the last connection was closed; only of who is offline, and was here before.
    pub last_seen: Option<Timestamp>,
    /// `None`: never.
    pub changed_at: Option<Timestamp>,
    /// Zero for who was never here.
    pub revision: i64,
}

impl Standing {
    /// Of who was never here.
    #[must_use]
    pub fn unseen(user: UserId) -> Self {
        Self { user, availability: Availability::Offline, last_seen: None, changed_at: None, revision: 0 }
    }

    /// Whether others would be told the same.
    #[must_use]
    pub fn looks_like(&self, other: &Self) -> bool {
        (self.availability, self.last_seen) == (other.availability, other.last_seen)
    }
}
