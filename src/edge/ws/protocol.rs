//! What client and server say to each other besides events: flat JSON objects with a `type`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::db::EpochId;
use crate::delivery::event::json_text_frame;
use crate::domain::ids::{ConnectionId, NodeId};
pub use crate::edge::ws::errors::{CommandError, CommandErrorCode};
use crate::edge::ws::json::FlatObject;

/// The sub-protocol of clients that confirm events themselves.
pub const SUBPROTOCOL: &str = "fanlight.v1";

/// What a client may say. The attributes of serde are for the document: see [`command`] for how it is read.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Command {
    /// All events up to this seq are stored. Only on `fanlight.v1`; elsewhere the pong says it.
    Ack {
        /// At most the last one that was sent on this connection.
        #[schema(minimum = 0)]
        seq: i64,
    },
    /// Answered with `PONG`, for clients that cannot send WebSocket pings.
    Ping,
    /// Says who the client is, in its first frame or to outlive its token.
    Auth(Auth),
}

/// The token, in the first frame or as a renewal; `since`, `epoch` and `deviceId` count only in the first.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
pub struct Auth {
    /// An access token. A renewal must be of the same session.
    pub token: String,
    /// The last seq that the client has seen.
    pub since: Option<i64>,
    /// What `WELCOME` said together with it.
    pub epoch: Option<Uuid>,
    /// A newer connection of the same device replaces the older one.
    #[serde(rename = "deviceId")]
    #[schema(min_length = 1, max_length = 191)]
    pub device: Option<String>,
}

impl Command {
    /// For the metric.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Ack { .. } => "ack",
            Self::Ping => "ping",
            Self::Auth(_) => "auth",
        }
    }
}

/// Longer references are not repeated: an answer must not cost more than its question.
const REF_BYTES_MAX: usize = 128;

/// Reads and counts a command, and reads the `ref` that its answer repeats.
pub fn parse(text: &str) -> (Result<Command, CommandError>, Option<&RawValue>) {
    let (command, reference) = read(text);
    count(&command);
    (command, reference)
}

pub(super) fn count(command: &Result<Command, CommandError>) {
    let (name, result) = match command {
        Ok(command) => (command.as_str(), "ok"),
        Err(error) => ("none", error.as_str()),
    };
    metrics::counter!("fanlight_commands_total", "command" => name, "result" => result).increment(1);
}

/// Reads a command of the edge itself, and the `ref` that its answer repeats.
pub(super) fn read(text: &str) -> (Result<Command, CommandError>, Option<&RawValue>) {
    let Some(object) = FlatObject::read(text) else { return (Err(CommandError::Malformed), None) };
    match reference(&object) {
        Ok(reference) => (command(&object), reference),
        Err(error) => (Err(error), None),
    }
}

/// Half a surrogate pair is JSON by its grammar, and many readers of our answer would not take it.
pub(super) fn reference<'a>(object: &FlatObject<'a>) -> Result<Option<&'a RawValue>, CommandError> {
    let reference: Option<&RawValue> = optional(object, "ref")?;
    let Some(reference) = reference.filter(|it| it.get().len() <= REF_BYTES_MAX) else { return Ok(None) };
    match serde_json::from_str::<Value>(reference.get()) {
        Ok(_) => Ok(Some(reference)),
        Err(_) => Err(CommandError::InvalidField("ref")),
    }
}

fn command(object: &FlatObject<'_>) -> Result<Command, CommandError> {
    let kind: Option<String> = object.field("type").map_err(|_| CommandError::Malformed)?;
    match kind.ok_or(CommandError::Malformed)?.as_str() {
        "ACK" => Ok(Command::Ack { seq: needed(object, "seq")? }),
        "PING" => Ok(Command::Ping),
        "AUTH" => Ok(Command::Auth(Auth {
            token: needed(object, "token")?,
            since: optional(object, "since")?,
            epoch: optional(object, "epoch")?,
            device: optional(object, "deviceId")?,
        })),
        _ => Err(CommandError::Unknown),
    }
}

fn needed<'a, T: Deserialize<'a>>(object: &FlatObject<'a>, name: &'static str) -> Result<T, CommandError> {
    optional(object, name)?.ok_or(CommandError::InvalidField(name))
}

fn optional<'a, T: Deserialize<'a>>(
    object: &FlatObject<'a>,
    name: &'static str,
) -> Result<Option<T>, CommandError> {
    object.field(name).map_err(|_| CommandError::InvalidField(name))
}

/// What the client may do on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WelcomeLimits {
    /// The largest message, over all its fragments.
    pub message_bytes_max: usize,
    pub messages_per_second: u32,
    pub messages_burst: u32,
}

/// Why a client must read the state instead of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResyncReason {
    /// It missed more events than are replayed.
    TooFarBehind,
    /// What it missed is no longer kept.
    BeyondRetention,
    /// It has seen more than the database knows: that was restored from a backup.
    AheadOfServer,
    /// What it saw may not be what the database knows: another server took over since, or a backup was restored.
    AnotherPast,
}

impl ResyncReason {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooFarBehind => "too_far_behind",
            Self::BeyondRetention => "beyond_retention",
            Self::AheadOfServer => "ahead_of_server",
            Self::AnotherPast => "another_past",
        }
    }
}

/// What the server says.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reply<'a> {
    /// The first frame on `fanlight.v1`.
    #[serde(rename_all = "camelCase")]
    Welcome {
        connection_id: ConnectionId,
        node: NodeId,
        /// The last seq of the user's sequence.
        seq: i64,
        /// The database's past that it belongs to; the client repeats it together with `since`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        epoch: Option<EpochId>,
        /// A connection that was silent this long is sent a ping.
        heartbeat_ms: u64,
        limits: WelcomeLimits,
    },
    /// Read the state by REST; events go on after `fromSeq`.
    #[serde(rename_all = "camelCase")]
    Resync { reason: ResyncReason, from_seq: i64 },
    /// The command with this `ref` is done. What more it has, the command says.
    Ok {
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Value>, nullable = false)]
        r#ref: Option<&'a RawValue>,
    },
    /// The command with this `ref` was not taken; the connection stays.
    Error {
        code: CommandErrorCode,
        /// For a developer who reads it.
        message: String,
        /// When it is worth another try.
        #[serde(rename = "retryAfterMs", skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        retry_after_ms: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Value>, nullable = false)]
        r#ref: Option<&'a RawValue>,
    },
    /// The answer to `PING`.
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Value>, nullable = false)]
        r#ref: Option<&'a RawValue>,
    },
    /// The node leaves, and closes 1012 now: connect again after this delay. Only on `fanlight.v1`.
    #[serde(rename_all = "camelCase")]
    Draining { reconnect_after_ms: u64 },
}

impl<'a> Reply<'a> {
    pub fn refusal(error: CommandError, reference: Option<&'a RawValue>) -> Self {
        let (code, message) = (error.code(), error.message());
        Self::Error { code, message, retry_after_ms: None, r#ref: reference }
    }

    pub fn invalid_ack(reference: Option<&'a RawValue>) -> Self {
        let message = "ACK names a seq that was not sent on this connection".into();
        let code = CommandErrorCode::InvalidAck;
        Self::Error { code, message, retry_after_ms: None, r#ref: reference }
    }

    #[must_use]
    pub fn frame(&self) -> Bytes {
        json_text_frame(self)
    }
}

/// `OK` with more than the `ref`.
#[must_use]
pub fn ok_with(reference: Option<&RawValue>, fields: &impl Serialize) -> Bytes {
    #[derive(Serialize)]
    struct Ok<'a, T> {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<&'a RawValue>,
        #[serde(flatten)]
        fields: &'a T,
    }
    let answer = Ok { r#type: "OK", r#ref: reference, fields };
    json_text_frame(&answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_with_their_reference() {
        let (command, reference) = parse(r#"{"type":"ACK","seq":7,"ref":"a1","future":[1]}"#);
        assert_eq!(command, Ok(Command::Ack { seq: 7 }));
        assert_eq!(reference.map(RawValue::get), Some(r#""a1""#));
    }

    #[test]
    fn what_is_not_a_command_is_named() {
        let cases = [
            ("", CommandError::Malformed),
            ("[]", CommandError::Malformed),
            (r#"["PING"]"#, CommandError::Malformed),
            (r#"{"type":"ACK","type":"PING"}"#, CommandError::Malformed),
            (r#"{"type":"PING","later":1,"later":2}"#, CommandError::Malformed),
            (r#"{"type":"PING","t\u0079pe":"AUTH"}"#, CommandError::Malformed),
            (r#"{"type":7}"#, CommandError::Malformed),
            (r#"{"ref":1}"#, CommandError::Malformed),
            (r#"{"type":"PING"} {}"#, CommandError::Malformed),
            (r#"{"type":"ACK","seq":1.5}"#, CommandError::InvalidField("seq")),
            (r#"{"type":"ACK","seq":"1"}"#, CommandError::InvalidField("seq")),
            (r#"{"type":"ACK","seq":9223372036854775808}"#, CommandError::InvalidField("seq")),
            (r#"{"type":"ACK","seq":null}"#, CommandError::InvalidField("seq")),
            (r#"{"type":"AUTH","token":"t","since":"1"}"#, CommandError::InvalidField("since")),
            (r#"{"type":"AUTH","token":"t","deviceId":1}"#, CommandError::InvalidField("deviceId")),
            (r#"{"type":"NOPE"}"#, CommandError::Unknown),
            (r#"{"type":"ACK"}"#, CommandError::InvalidField("seq")),
            (r#"{"type":"PING","ref":"\ud83d"}"#, CommandError::InvalidField("ref")),
            (r#"{"type":"PING","ref":1e999}"#, CommandError::InvalidField("ref")),
            (r#"{"type":"AUTH"}"#, CommandError::InvalidField("token")),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text).0, Err(error), "{text}");
        }
    }

    #[test]
    fn a_ref_is_repeated_even_if_the_command_is_wrong() {
        let (command, reference) = parse(r#"{"ref":{"a":[1]},"type":"ACK","seq":"x"}"#);
        assert_eq!(command, Err(CommandError::InvalidField("seq")));
        assert_eq!(reference.map(RawValue::get), Some(r#"{"a":[1]}"#));
        let long = format!(r#"{{"type":"PING","ref":"{}"}}"#, "x".repeat(REF_BYTES_MAX));
        assert_eq!(parse(&long).1.map(RawValue::get), None);
    }

    #[test]
    fn replies_look_as_documented() {
        let resync = Reply::Resync { reason: ResyncReason::TooFarBehind, from_seq: 9 };
        let text = serde_json::to_string(&resync).unwrap();
        assert_eq!(text, r#"{"type":"RESYNC","reason":"too_far_behind","fromSeq":9}"#);
        let draining = serde_json::to_string(&Reply::Draining { reconnect_after_ms: 5 }).unwrap();
        assert_eq!(draining, r#"{"type":"DRAINING","reconnectAfterMs":5}"#);
    }
}
