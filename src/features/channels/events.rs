//! What people are told of conversations wherever they are, and their phones if need be.
//!
//! Only what concerns one person goes this way: what happens in a conversation, whoever follows it live is told.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;
use uuid::uuid;

use crate::delivery::described;
use crate::delivery::event::{Event, NewEvent, PushContent};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChannelId, UserId};
use crate::features::channels::model::{Channel, Kind, Role};

/// As long as events are kept: what one is in is news after a weekend, too.
const TTL: Duration = Duration::from_hours(72);

described::events!(pub(in crate::features) fn events: ChannelCreated<'_>, Invited<'_>, MemberRemoved);

/// To all devices of who made a conversation; of a direct one, to the other person's too.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChannelCreated<'a> {
    channel_id: ChannelId,
    kind: Kind,
    /// Null for a direct conversation.
    #[schema(required)]
    name: Option<&'a str>,
    is_private: bool,
    created_by: UserId,
    /// When it happened, epoch ms.
    timestamp: i64,
}

impl Event for ChannelCreated<'_> {
    const KIND: &'static str = "CHANNEL_CREATED";
    const TTL: Duration = TTL;

    fn push(&self) -> Option<PushContent> {
        None // Who made it has the app in hand, and what is written to the other person wakes them.
    }

    fn example() -> Self {
        Self {
            channel_id: described::example_channel(),
            kind: Kind::Channel,
            name: Some("general"),
            is_private: false,
            created_by: described::example_user(),
            timestamp: described::EXAMPLE_MS,
        }
    }
}

/// To all devices of who was taken into a channel or group by somebody else.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "as it is on the wire")]
struct Invited<'a> {
    channel_id: ChannelId,
    kind: Kind,
    name: &'a str,
    /// What the receiver is in it.
    role: Role,
    invited_by: UserId,
    /// When it happened, epoch ms.
    timestamp: i64,
    #[serde(skip)]
    inviter_name: Option<&'a str>,
}

impl Event for Invited<'_> {
    const KIND: &'static str = "INVITED";
    const TTL: Duration = TTL;

    fn push(&self) -> Option<PushContent> {
        let inviter = self.inviter_name.map(|name| ("actor".to_owned(), name.to_owned()));
        let channel = ("name".to_owned(), self.name.to_owned());
        Some(PushContent {
            text: "invited".to_owned(),
            args: inviter.into_iter().chain([channel]).collect(),
            data: BTreeMap::from([
                ("channelId".to_owned(), self.channel_id.to_string()),
                ("actorId".to_owned(), self.invited_by.to_string()),
            ]),
            collapse_key: format!("invited.{}", self.channel_id),
        })
    }

    fn example() -> Self {
        Self {
            channel_id: described::example_channel(),
            kind: Kind::Channel,
            name: "general",
            role: Role::Member,
            invited_by: described::example_user(),
            timestamp: described::EXAMPLE_MS,
            inviter_name: Some("Mia"),
        }
    }
}

/// To all devices of who is not in a channel or group any more.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MemberRemoved {
    channel_id: ChannelId,
    /// The receiver.
    user_id: UserId,
    /// The receiver, if they left.
    removed_by: UserId,
    /// When it happened, epoch ms.
    timestamp: i64,
}

impl Event for MemberRemoved {
    const KIND: &'static str = "MEMBER_REMOVED";
    const TTL: Duration = TTL;

    fn push(&self) -> Option<PushContent> {
        None
    }

    fn example() -> Self {
        Self {
            channel_id: described::example_channel(),
            user_id: described::example_user(),
            removed_by: UserId(uuid!("01890a5d-ac96-774b-bcce-b302099a8058")),
            timestamp: described::EXAMPLE_MS,
        }
    }
}

/// For `receiver`, when `by` made the conversation.
pub fn created(channel: &Channel, receiver: UserId, by: UserId) -> NewEvent {
    let event = ChannelCreated {
        channel_id: channel.id,
        kind: channel.kind,
        name: channel.name.as_deref(),
        is_private: channel.is_private,
        created_by: by,
        timestamp: channel.created_at.timestamp_millis(),
    };
    NewEvent::new(receiver, &event)
}

/// Somebody who takes others in.
pub struct Inviter<'a> {
    pub id: UserId,
    pub name: Option<&'a str>,
}

/// For `receiver`, who was taken in.
pub fn invited(channel: &Channel, receiver: UserId, role: Role, by: &Inviter<'_>, at: Timestamp) -> NewEvent {
    let event = Invited {
        channel_id: channel.id,
        kind: channel.kind,
        name: channel.name.as_deref().unwrap_or_default(),
        role,
        invited_by: by.id,
        timestamp: at.timestamp_millis(),
        inviter_name: by.name,
    };
    NewEvent::new(receiver, &event)
}

/// For `user`, who was taken out by `by`, or left.
pub fn removed(channel_id: ChannelId, user: UserId, by: UserId, at: Timestamp) -> NewEvent {
    let event = MemberRemoved { channel_id, user_id: user, removed_by: by, timestamp: at.timestamp_millis() };
    NewEvent::new(user, &event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::texts;

    #[test]
    fn an_invitation_says_who_and_where_in_every_language() {
        let push = Invited::example().push().unwrap();
        for language in ["en", "es", "da", "vi"] {
            let text = texts::render(&push.text, &push.args, language);
            assert_eq!(text.title, "general");
            assert!(text.body.contains("Mia"), "{text:?}");
        }
        let nameless = texts::render(&push.text, &BTreeMap::new(), "en");
        assert_eq!(nameless.body, "Somebody added you");
        assert!(push.collapse_key.len() <= 64, "APNs refuses a longer one");
    }
}
