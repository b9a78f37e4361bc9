//! What everybody who follows a conversation is told of its messages.

use serde::Serialize;
use utoipa::ToSchema;

use super::examples;
use crate::delivery::described;
use crate::delivery::event::{RoomEvent, room_frame};
use crate::delivery::rooms::RoomFrame;
use crate::domain::ids::{ChannelId, MessageId, UserId};
use crate::features::messages::events::reading::ReadMarker;
use crate::features::messages::model::{Change, Happened, Message};
use crate::features::messages::views::MessageView;

described::room_events!(
    pub(in crate::features) fn room_events:
        MessageCreated, MessageEdited, MessageDeleted, ReactionAdded, ReactionRemoved, ReadMarker
);

/// Somebody wrote a message.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MessageCreated {
    #[serde(flatten)]
    message: MessageView,
    /// What its author called it, if they did: they may show it already.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// When it was written, epoch ms.
    timestamp: i64,
    /// The conversation's.
    revision: i64,
}

impl RoomEvent for MessageCreated {
    const KIND: &'static str = "MESSAGE_CREATED";

    fn example() -> Self {
        Self {
            message: examples::message(),
            client_id: Some("c-17".to_owned()),
            timestamp: described::EXAMPLE_MS,
            revision: 58,
        }
    }
}

/// Its author changed a message.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MessageEdited {
    #[serde(flatten)]
    message: MessageView,
    /// When it was changed, epoch ms.
    timestamp: i64,
    /// The conversation's.
    revision: i64,
}

impl RoomEvent for MessageEdited {
    const KIND: &'static str = "MESSAGE_EDITED";

    fn example() -> Self {
        let message = MessageView { is_edited: true, ..examples::message() };
        Self { message, timestamp: described::EXAMPLE_MS, revision: 59 }
    }
}

/// A message was deleted: its content, its files, its mentions and its reactions are gone.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MessageDeleted {
    id: MessageId,
    channel_id: ChannelId,
    /// Of the message.
    seq: i64,
    /// Who deleted it.
    user_id: UserId,
    /// When, epoch ms.
    timestamp: i64,
    /// The conversation's.
    revision: i64,
}

impl RoomEvent for MessageDeleted {
    const KIND: &'static str = "MESSAGE_DELETED";

    fn example() -> Self {
        Self {
            id: examples::message_id(),
            channel_id: examples::channel_id(),
            seq: 41,
            user_id: described::example_user(),
            timestamp: described::EXAMPLE_MS,
            revision: 60,
        }
    }
}

/// What both events about reactions say.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ReactionChange {
    message_id: MessageId,
    channel_id: ChannelId,
    user_id: UserId,
    emoji: String,
    /// When, epoch ms.
    timestamp: i64,
    /// The conversation's.
    revision: i64,
}

impl ReactionChange {
    fn example(revision: i64) -> Self {
        Self {
            message_id: examples::message_id(),
            channel_id: examples::channel_id(),
            user_id: described::example_user(),
            emoji: "👍".to_owned(),
            timestamp: described::EXAMPLE_MS,
            revision,
        }
    }
}

/// Somebody reacted to a message.
#[derive(Serialize, ToSchema)]
struct ReactionAdded {
    #[serde(flatten)]
    reaction: ReactionChange,
}

impl RoomEvent for ReactionAdded {
    const KIND: &'static str = "REACTION_ADDED";

    fn example() -> Self {
        Self { reaction: ReactionChange::example(61) }
    }
}

/// Somebody took a reaction back.
#[derive(Serialize, ToSchema)]
struct ReactionRemoved {
    #[serde(flatten)]
    reaction: ReactionChange,
}

impl RoomEvent for ReactionRemoved {
    const KIND: &'static str = "REACTION_REMOVED";

    fn example() -> Self {
        Self { reaction: ReactionChange::example(62) }
    }
}

/// The room is told that a message was written.
pub fn created(message: &Message) -> RoomFrame {
    let event = MessageCreated {
        message: message.clone().into(),
        client_id: message.client_id.clone(),
        timestamp: message.created_at.timestamp_millis(),
        revision: message.revision,
    };
    framed(message.channel, message.revision, &event)
}

/// The room is told what happened to a message later. Of the message it needs the ids, and of an edited one all.
pub fn changed(message: &Message, change: &Change) -> RoomFrame {
    let (channel, revision, timestamp) = (message.channel, change.revision, change.at.timestamp_millis());
    let reaction = |emoji: &String| ReactionChange {
        message_id: message.id,
        channel_id: channel,
        user_id: change.by,
        emoji: emoji.clone(),
        timestamp,
        revision,
    };
    match &change.happened {
        Happened::Edited => {
            framed(channel, revision, &MessageEdited { message: message.clone().into(), timestamp, revision })
        }
        Happened::Deleted => {
            let (id, seq, user_id) = (message.id, message.seq, change.by);
            let event = MessageDeleted { id, channel_id: channel, seq, user_id, timestamp, revision };
            framed(channel, revision, &event)
        }
        Happened::ReactionAdded(emoji) => {
            framed(channel, revision, &ReactionAdded { reaction: reaction(emoji) })
        }
        Happened::ReactionRemoved(emoji) => {
            framed(channel, revision, &ReactionRemoved { reaction: reaction(emoji) })
        }
    }
}

fn framed<E: RoomEvent>(room: ChannelId, revision: i64, event: &E) -> RoomFrame {
    RoomFrame { room, revision, kind: E::KIND, frame: room_frame(event) }
}
