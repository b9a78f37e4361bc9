//! A durable fact for one user, from the feature that states it to the bytes on the wire.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::delivery::described::Listed;
use crate::domain::ids::{EventId, UserId};
use crate::ports::broker::Envelope;
use crate::telemetry::traces::{self, TraceContext};

/// What a feature tells a user: one flat JSON object with the fields of the contract, among them
/// `timestamp` (epoch ms), without `type`, `id` and `seq`, which are added here.
pub trait Event: Serialize + ToSchema + Listed {
    /// The `type` of the frame, such as `PARTNER_LINKED`.
    const KIND: &'static str;
    /// After this the event is no longer worth telling.
    const TTL: Duration;

    /// What a push says if no device confirms the event; `None`: never wake a phone for it.
    fn push(&self) -> Option<PushContent>;

    /// One as clients may get it, for the documents.
    fn example() -> Self;
}

/// What everybody who follows a room is told, live: nobody's own, so that it has no place in a user's sequence. One flat
/// JSON object as [`Event`]s are; if it has a place in the room's, it says so itself (`revision`).
pub trait RoomEvent: Serialize + ToSchema + Listed {
    /// The `type` of the frame, such as `MESSAGE_CREATED`.
    const KIND: &'static str;

    /// One as clients may get it, for the documents.
    fn example() -> Self;
}

/// The finished WebSocket text frame of anything else that is said.
///
/// # Panics
/// If it cannot be JSON: it has to be a plain type of strings and numbers.
#[must_use]
pub fn json_text_frame(said: &impl Serialize) -> Bytes {
    text_frame(&serde_json::to_string(said).expect("a plain type of strings and numbers"))
}

/// The finished WebSocket text frame of what a room is told, the same for everybody.
pub fn room_frame<E: RoomEvent>(event: &E) -> Bytes {
    text_frame(&typed(E::KIND, event))
}

/// The event's fields behind its `type`.
pub(super) fn typed(kind: &'static str, event: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Body<'a, E> {
        r#type: &'static str,
        #[serde(flatten)]
        event: &'a E,
    }
    serde_json::to_string(&Body { r#type: kind, event })
        .expect("an event is a plain struct of strings and numbers")
}

/// What a push says, before it is put into a device's language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushContent {
    /// Key of the text in `config/locales/*.toml`, such as `partner_status_changed.available`.
    pub text: String,
    /// What the text's `{placeholders}` stand for.
    pub args: BTreeMap<String, String>,
    /// What the app gets besides `type`, `eventId` and `seq`.
    pub data: BTreeMap<String, String>,
    /// A later push with the same key replaces an earlier one on the device.
    pub collapse_key: String,
}

impl PushContent {
    /// All that the app gets: only text, because FCM carries nothing else.
    #[must_use]
    pub fn data_of(&self, kind: &str, id: EventId, seq: i64) -> BTreeMap<String, String> {
        let mut data = self.data.clone();
        data.insert("type".into(), kind.to_owned());
        data.insert("eventId".into(), id.to_string());
        data.insert("seq".into(), seq.to_string());
        data
    }
}

/// An event that has not been written yet.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub id: EventId,
    pub user: UserId,
    pub kind: &'static str,
    pub body: String,
    pub push: Option<PushContent>,
    pub ttl: Duration,
    /// The request that it comes of, if that is traced.
    pub trace: Option<TraceContext>,
}

impl NewEvent {
    /// States `event` for `user`.
    pub fn new<E: Event>(user: UserId, event: &E) -> Self {
        let body = typed(E::KIND, event);
        let (id, push, trace) = (EventId::generate(), event.push(), traces::current());
        Self { id, user, kind: E::KIND, body, push, ttl: E::TTL, trace }
    }

    /// The push content as the database stores it.
    #[must_use]
    pub fn push_json(&self) -> Option<serde_json::Value> {
        self.push
            .as_ref()
            .map(|push| serde_json::to_value(push).expect("push content is a plain struct of strings"))
    }

    /// The trace as the database stores it.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        self.trace.map(|trace| trace.to_string())
    }

    #[must_use]
    pub fn ttl_ms(&self) -> i64 {
        i64::try_from(self.ttl.as_millis()).unwrap_or(i64::MAX)
    }

    /// The event as it is once its transaction gave it a place in the user's sequence.
    pub fn committed(&self, seq: i64) -> Committed {
        Committed {
            kind: Cow::Borrowed(self.kind),
            pushable: self.push.is_some(),
            trace: self.trace,
            envelope: Envelope {
                event: self.id,
                user: self.user,
                seq,
                trace: None,
                frame: frame(self.id, seq, &self.body),
            },
        }
    }
}

/// An event that is in the database: whatever happens now, it is not lost.
#[derive(Clone, Debug)]
#[must_use = "hand it to the dispatcher after the commit; otherwise it waits for the sweeper"]
pub struct Committed {
    pub kind: Cow<'static, str>,
    pub pushable: bool,
    /// Where in a trace its way belongs, if it is traced.
    pub trace: Option<TraceContext>,
    pub envelope: Envelope,
}

/// The finished WebSocket text frame of an event: its body with `id` and `seq` added.
#[must_use]
pub fn frame(id: EventId, seq: i64, body: &str) -> Bytes {
    text_frame(&placed(id, seq, body))
}

/// The body with its place in the user's sequence.
pub(super) fn placed(id: EventId, seq: i64, body: &str) -> String {
    let fields = body.strip_suffix('}').unwrap_or(body);
    format!(r#"{fields},"id":"{id}","seq":{seq}}}"#)
}

/// The body of what stands in place of an event that cannot be read.
pub(super) const TOMBSTONE: &str = r#"{"type":"UNREADABLE"}"#;

/// As [`frame`], of a body that was read from the database. One that is no event would leave the client without the
/// seq, and every later event behind a gap: in its place goes a type that clients do not know.
#[must_use]
pub fn stored_frame(id: EventId, seq: i64, body: &str) -> Bytes {
    #[derive(Deserialize)]
    struct Head {
        #[serde(rename = "type")]
        _type: IgnoredAny,
    }
    if serde_json::from_str::<Head>(body).is_ok() {
        return frame(id, seq, body);
    }
    tracing::error!(event.id = %id, "unreadable event body");
    metrics::counter!("fanlight_events_unreadable_total").increment(1);
    frame(id, seq, TOMBSTONE)
}

/// An unmasked, unfragmented text frame, the same for every receiver.
#[must_use]
pub fn text_frame(text: &str) -> Bytes {
    const FIN_TEXT: u8 = 0x81;
    data_frame(FIN_TEXT, text.as_bytes())
}

/// An unmasked frame of any length (RFC 6455 §5.2); its first byte says what it is.
#[must_use]
pub fn data_frame(first_byte: u8, payload: &[u8]) -> Bytes {
    let length = payload.len();
    let mut out = BytesMut::with_capacity(length + 10);
    out.put_u8(first_byte);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.put_u8(short),
        (_, Ok(medium)) => {
            out.put_u8(126);
            out.put_u16(medium);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(length as u64);
        }
    }
    out.put_slice(payload);
    out.freeze()
}
