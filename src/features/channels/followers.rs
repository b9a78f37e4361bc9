//! What those who follow a conversation live are told of it, and when that ends.
//!
//! This feature knows no socket: whoever carries live frames implements [`Followers`].

use bytes::Bytes;
use chrono::DateTime;
use serde::Serialize;
use utoipa::ToSchema;

use crate::delivery::described::{EXAMPLE_MS, example_channel, example_user};
use crate::delivery::event::json_text_frame;
use crate::delivery::rooms::Rooms;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChannelId, UserId};
use crate::features::channels::model::{Channel, Role};

/// Those who follow conversations live, on every node. All of it is said after the commit, and none may block.
pub trait Followers: Send + Sync + 'static {
    /// Tells whoever follows it now; what is lost can be read by REST.
    fn tell(&self, channel: ChannelId, notice: &Notice);

    /// Ends it for this user, who was taken out at this revision: nothing later reaches them.
    fn expel(&self, channel: ChannelId, user: UserId, revision: i64);

    /// Ends it for everybody with this last word: there is no such conversation any more.
    fn close(&self, channel: ChannelId, notice: &Notice);
}

impl Followers for Rooms {
    fn tell(&self, channel: ChannelId, notice: &Notice) {
        self.publish_passing(channel, None, notice.kind(), notice.frame());
    }

    fn expel(&self, channel: ChannelId, user: UserId, revision: i64) {
        Self::expel(self, channel, user, revision);
    }

    fn close(&self, channel: ChannelId, notice: &Notice) {
        Self::close(self, channel, notice.kind(), &notice.frame());
    }
}

/// A change that whoever follows the conversation sees, once, and not again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Notice {
    /// What it is called or about is another now.
    #[serde(rename_all = "camelCase")]
    ChannelUpdated {
        channel_id: ChannelId,
        #[schema(required)]
        name: Option<String>,
        #[schema(required)]
        description: Option<String>,
        is_private: bool,
        /// When it happened, epoch ms.
        timestamp: i64,
    },
    /// It is gone, with all that was written.
    #[serde(rename_all = "camelCase")]
    ChannelDeleted {
        channel_id: ChannelId,
        deleted_by: UserId,
        /// When it happened, epoch ms.
        timestamp: i64,
    },
    /// Somebody is in it who was not.
    #[serde(rename_all = "camelCase")]
    MemberAdded {
        channel_id: ChannelId,
        user_id: UserId,
        role: Role,
        /// They themselves, if they joined.
        added_by: UserId,
        /// When it happened, epoch ms.
        timestamp: i64,
    },
    /// Somebody in it has another role now.
    #[serde(rename_all = "camelCase")]
    MemberUpdated {
        channel_id: ChannelId,
        user_id: UserId,
        role: Role,
        /// They themselves, if they stepped down.
        updated_by: UserId,
        /// When it happened, epoch ms.
        timestamp: i64,
    },
    /// Somebody is not in it any more.
    #[serde(rename_all = "camelCase")]
    MemberRemoved {
        channel_id: ChannelId,
        user_id: UserId,
        /// They themselves, if they left.
        removed_by: UserId,
        /// When it happened, epoch ms.
        timestamp: i64,
    },
}

impl Notice {
    /// The `type` of its frame.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ChannelUpdated { .. } => "CHANNEL_UPDATED",
            Self::ChannelDeleted { .. } => "CHANNEL_DELETED",
            Self::MemberAdded { .. } => "MEMBER_ADDED",
            Self::MemberUpdated { .. } => "MEMBER_UPDATED",
            Self::MemberRemoved { .. } => "MEMBER_REMOVED",
        }
    }

    fn frame(&self) -> Bytes {
        json_text_frame(self)
    }

    /// One of each, for the documents.
    #[must_use]
    pub fn examples() -> Vec<Self> {
        let at = DateTime::from_timestamp_millis(EXAMPLE_MS).unwrap_or_default();
        let (channel, user) = (example_channel(), example_user());
        let updated = Self::ChannelUpdated {
            channel_id: channel,
            name: Some("Gardening".into()),
            description: None,
            is_private: false,
            timestamp: EXAMPLE_MS,
        };
        vec![
            updated,
            Self::deleted(channel, user, at),
            Self::added(channel, user, Role::Member, user, at),
            Self::appointed(channel, user, Role::Admin, user, at),
            Self::removed(channel, user, user, at),
        ]
    }

    pub(super) fn updated(channel: &Channel) -> Self {
        Self::ChannelUpdated {
            channel_id: channel.id,
            name: channel.name.clone(),
            description: channel.description.clone(),
            is_private: channel.is_private,
            timestamp: channel.updated_at.timestamp_millis(),
        }
    }

    pub(super) fn deleted(channel_id: ChannelId, deleted_by: UserId, at: Timestamp) -> Self {
        Self::ChannelDeleted { channel_id, deleted_by, timestamp: at.timestamp_millis() }
    }

    pub(super) fn added(
        channel_id: ChannelId,
        user_id: UserId,
        role: Role,
        by: UserId,
        at: Timestamp,
    ) -> Self {
        Self::MemberAdded { channel_id, user_id, role, added_by: by, timestamp: at.timestamp_millis() }
    }

    pub(super) fn appointed(
        channel_id: ChannelId,
        user_id: UserId,
        role: Role,
        by: UserId,
        at: Timestamp,
    ) -> Self {
        Self::MemberUpdated { channel_id, user_id, role, updated_by: by, timestamp: at.timestamp_millis() }
    }

    pub(super) fn removed(channel_id: ChannelId, user_id: UserId, by: UserId, at: Timestamp) -> Self {
        Self::MemberRemoved { channel_id, user_id, removed_by: by, timestamp: at.timestamp_millis() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_flat_and_says_what_it_is() {
        let (channel, user, by) = (ChannelId::generate(), UserId::generate(), UserId::generate());
        let at = DateTime::from_timestamp_millis(1_710_930_000_000).unwrap();
        let frame = serde_json::json!({
            "type": "MEMBER_ADDED", "channelId": channel, "userId": user, "role": "admin", "addedBy": by,
            "timestamp": 1_710_930_000_000_i64,
        });
        let notice = Notice::added(channel, user, Role::Admin, by, at);
        assert_eq!(serde_json::to_value(&notice).unwrap(), frame);
        for notice in [notice, Notice::deleted(channel, by, at), Notice::removed(channel, user, by, at)] {
            assert_eq!(serde_json::to_value(&notice).unwrap()["type"], notice.kind());
        }
    }
}
