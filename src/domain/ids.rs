//! Ids. One type each, so that a user's id never stands where an event's is meant.
//!
//! All are `UUIDv7` (RFC 9562 §5.7): they sort by the time they were made, in the database and in logs.

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::clock::Timestamp;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord,
            Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        #[schema(value_type = Uuid)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id, greater than every one this process made before.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

impl EventId {
    /// When it was made, by the clock of the node that did, in whole milliseconds.
    #[must_use]
    pub fn made_at(self) -> Timestamp {
        let (seconds, nanos) = self.0.get_timestamp().map_or((0, 0), |at| at.to_unix());
        let seconds = i64::try_from(seconds).unwrap_or(0);
        DateTime::from_timestamp(seconds, nanos).unwrap_or_default()
    }
}

ids! {
    /// A person with an account.
    UserId;
    /// A login, and all tokens that descend from it.
    SessionId;
    /// A durable fact for one user; the same in Postgres, on the wire and in a push.
    EventId;
    /// One WebSocket connection.
    ConnectionId;
    /// One start of one server process: a restart is another node.
    NodeId;
    /// A device's registration for push.
    DeviceTokenId;
    /// An offer to be linked, with its code.
    LinkSessionId;
    /// A conversation: a channel, a group, or two people's own.
    ChannelId;
    /// What somebody wrote in a conversation.
    MessageId;
    /// A file that somebody attaches to what they write.
    UploadId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_when_it_was_made() {
        let (seconds, nanos) = (1_710_930_000, 250_000_000);
        let id = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos));
        assert_eq!(EventId(id).made_at().timestamp_millis(), 1_710_930_000_250);
    }
}
