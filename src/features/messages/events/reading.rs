//! How far somebody has read, told to the others and to their own devices.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::examples;
use crate::delivery::described;
use crate::delivery::event::{Event, PushContent, RoomEvent, room_frame};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChannelId, MessageId, UserId};
use crate::features::messages::model::Marker;

/// How far one has read is asked for when the app opens, anyway.
const TTL: Duration = Duration::from_hours(24);

described::events!(pub(in crate::features) fn events: SelfReadMarker);

/// Somebody has read so far. It is not repeated to who missed it: the next one says as much.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReadMarker {
    channel_id: ChannelId,
    user_id: UserId,
    last_read_message_id: Option<MessageId>,
    last_read_seq: i64,
    /// When, epoch ms.
    timestamp: i64,
}

impl RoomEvent for ReadMarker {
    const KIND: &'static str = "READ_MARKER";

    fn example() -> Self {
        Self {
            channel_id: examples::channel_id(),
            user_id: described::example_user(),
            last_read_message_id: Some(examples::message_id()),
            last_read_seq: 41,
            timestamp: described::EXAMPLE_MS,
        }
    }
}

/// To all devices of who has read, so that none shows as unread what another has shown.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SelfReadMarker {
    channel_id: ChannelId,
    #[schema(required)]
    last_read_message_id: Option<MessageId>,
    last_read_seq: i64,
    /// What others wrote after it and did not delete.
    unread_count: i64,
    /// When, epoch ms.
    timestamp: i64,
}

impl SelfReadMarker {
    pub fn new(channel_id: ChannelId, marker: Marker, at: Timestamp) -> Self {
        Self {
            channel_id,
            last_read_message_id: marker.last_read,
            last_read_seq: marker.last_read_seq,
            unread_count: marker.unread,
            timestamp: at.timestamp_millis(),
        }
    }
}

impl Event for SelfReadMarker {
    const KIND: &'static str = "SELF_READ_MARKER";
    const TTL: Duration = TTL;

    fn push(&self) -> Option<PushContent> {
        None
    }

    fn example() -> Self {
        Self {
            channel_id: examples::channel_id(),
            last_read_message_id: Some(examples::message_id()),
            last_read_seq: 41,
            unread_count: 3,
            timestamp: described::EXAMPLE_MS,
        }
    }
}

/// The room is told of somebody's reading: which kind of event, and its frame.
pub fn read(channel_id: ChannelId, user_id: UserId, marker: Marker, at: Timestamp) -> (&'static str, Bytes) {
    let event = ReadMarker {
        channel_id,
        user_id,
        last_read_message_id: marker.last_read,
        last_read_seq: marker.last_read_seq,
        timestamp: at.timestamp_millis(),
    };
    (ReadMarker::KIND, room_frame(&event))
}
