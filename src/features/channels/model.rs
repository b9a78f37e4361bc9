//! A conversation, who is in it, and what they are there.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChannelId, UserId};

/// `channel`: found by its name, and open to all unless it is private. `group`: people who were invited. `direct`: two people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ChannelKind)]
pub enum Kind {
    Channel,
    Group,
    Direct,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Channel, Self::Group, Self::Direct];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Group => "group",
            Self::Direct => "direct",
        }
    }

    /// # Errors
    /// For a text that the column's CHECK does not admit.
    pub(super) fn from_column(text: &str) -> Result<Self, sqlx::Error> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| sqlx::Error::Decode(format!("`{text}` is not a kind").into()))
    }
}

/// What a member may do; each may do what those below may. Both people of a direct conversation are members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Member,
    Admin,
    Owner,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Member, Self::Admin, Self::Owner];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// # Errors
    /// For a text that the column's CHECK does not admit.
    pub(super) fn from_column(text: &str) -> Result<Self, sqlx::Error> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| sqlx::Error::Decode(format!("`{text}` is not a role").into()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    pub id: ChannelId,
    pub kind: Kind,
    /// None for a direct conversation: it is called by who is in it.
    pub name: Option<String>,
    pub description: Option<String>,
    pub is_private: bool,
    /// None once that account is deleted.
    pub created_by: Option<UserId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub member_count: u32,
    pub message_count: i64,
    pub last_seq: i64,
}

/// What is to be made.
#[derive(Clone, Debug)]
pub enum NewChannel {
    Channel { name: String, description: Option<String>, is_private: bool },
    Group { name: String, description: Option<String>, people: Vec<UserId> },
    Direct { with: UserId },
}

/// What to change; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct ChannelChange {
    pub name: Option<String>,
    pub description: Option<Option<String>>,
    pub is_private: Option<bool>,
}

/// Somebody who is in it, as the others see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub user: UserId,
    pub username: Option<String>,
    /// Or else the full name, or the username.
    pub display_name: Option<String>,
    pub avatar_url: Option<String>,
    pub avatar_color: Option<String>,
    pub role: Role,
    pub joined_at: Timestamp,
}
