//! What a kind of event is, for who writes a client: its schema, its life, and one example of it and of its push.
//! Likewise what rooms are told, which has neither a life nor a push.

use std::time::Duration;

use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};
use uuid::uuid;

use crate::delivery::event::{Event, NewEvent, RoomEvent, TOMBSTONE, placed, typed};
use crate::delivery::texts::{self, Text};
use crate::domain::ids::{ChannelId, EventId, UserId};

/// An event that a feature has listed with [`events!`]. Only those can be sent, so that none is missing in the
/// document.
pub trait Listed {}

/// Lists the events of a feature, in a function that says what each of them is.
macro_rules! events {
    ($visibility:vis fn $name:ident: $($event:ty),* $(,)?) => {
        $(impl $crate::delivery::described::Listed for $event {})*

        /// Every kind of event of this feature.
        $visibility fn $name() -> Vec<$crate::delivery::described::Described> {
            vec![$($crate::delivery::described::Described::of::<$event>()),*]
        }
    };
}
pub(crate) use events;

/// Lists what a feature tells rooms, likewise.
macro_rules! room_events {
    ($visibility:vis fn $name:ident: $($event:ty),* $(,)?) => {
        $(impl $crate::delivery::described::Listed for $event {})*

        /// Everything that this feature tells rooms.
        $visibility fn $name() -> Vec<$crate::delivery::described::DescribedRoomEvent> {
            vec![$($crate::delivery::described::DescribedRoomEvent::of::<$event>()),*]
        }
    };
}
pub(crate) use room_events;

/// One kind of event.
#[derive(Clone)]
pub struct Described {
    pub kind: &'static str,
    pub ttl: Duration,
    /// The event's own fields: without `type`, `id` and `seq`.
    pub schema: RefOr<Schema>,
    /// The schemas that it refers to, by name.
    pub refers_to: Vec<(String, RefOr<Schema>)>,
    /// A whole frame.
    pub example: Value,
    pub push: Option<DescribedPush>,
}

/// What a phone gets for the example.
#[derive(Clone)]
pub struct DescribedPush {
    pub data: Value,
    /// In English.
    pub text: Text,
}

impl Described {
    pub fn of<E: Event>() -> Self {
        let (id, seq) = (example_id(), 12);
        let event = NewEvent { id, ..NewEvent::new(UserId(id.0), &E::example()) };
        let mut refers_to = Vec::new();
        E::schemas(&mut refers_to);
        let push = event.push.as_ref().map(|push| DescribedPush {
            data: serde_json::to_value(push.data_of(event.kind, id, seq)).expect("a map of strings"),
            text: texts::render(&push.text, &push.args, "en"),
        });
        Self {
            kind: E::KIND,
            ttl: E::TTL,
            schema: E::schema(),
            refers_to,
            example: frame(id, seq, &event.body),
            push,
        }
    }
}

/// One thing that a room is told.
#[derive(Clone)]
pub struct DescribedRoomEvent {
    pub kind: &'static str,
    /// All its fields but `type`.
    pub schema: RefOr<Schema>,
    /// The schemas that it refers to, by name.
    pub refers_to: Vec<(String, RefOr<Schema>)>,
    /// A whole frame.
    pub example: Value,
}

impl DescribedRoomEvent {
    pub fn of<E: RoomEvent>() -> Self {
        let mut refers_to = Vec::new();
        E::schemas(&mut refers_to);
        let example =
            serde_json::from_str(&typed(E::KIND, &E::example())).expect("an event is a JSON object");
        Self { kind: E::KIND, schema: E::schema(), refers_to, example }
    }
}

/// What stands in place of an event whose body cannot be read.
#[must_use]
pub fn unreadable() -> Value {
    frame(example_id(), 13, TOMBSTONE)
}

fn frame(id: EventId, seq: i64, body: &str) -> Value {
    serde_json::from_str(&placed(id, seq, body)).expect("the body of an event is a JSON object")
}

/// When the examples happened.
pub const EXAMPLE_MS: i64 = 1_710_930_000_000;

/// Who is spoken of in the examples.
#[must_use]
pub fn example_user() -> UserId {
    UserId(uuid!("01890a5d-ac96-774b-bcce-b302099a8057"))
}

/// Which room is spoken of in the examples.
#[must_use]
pub fn example_channel() -> ChannelId {
    ChannelId(uuid!("0193a5c0-0000-7000-8000-0000000000c1"))
}

fn example_id() -> EventId {
    EventId(uuid!("0193a5c0-0000-7000-8000-000000000001"))
}
