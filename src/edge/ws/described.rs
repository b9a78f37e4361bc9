//! What is said on a socket besides events, for who writes a client: examples, and which answer belongs to what.
//!
//! The schemas are those of [`Command`] and [`Reply`] themselves.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::db::EpochId;
use crate::domain::ids::{ConnectionId, NodeId};
use crate::edge::ws::protocol::{self, Command, CommandError, Reply, ResyncReason, WelcomeLimits};

/// A `ref`, which any command may have.
const REF: &str = "\"a1\"";

/// One of each command as a client sends it, and the `type`s of the frames that may answer it.
#[must_use]
pub fn commands() -> Vec<(Value, &'static [&'static str])> {
    let examples = [
        json!({"type": "ACK", "seq": 12}),
        json!({"type": "PING", "ref": "a1"}),
        json!({"type": "AUTH", "token": "eyJ…", "since": 12, "deviceId": "my-phone"}),
    ];
    let answered = |example: Value| {
        let command = protocol::read(&example.to_string()).0.expect("a test reads each of them");
        (example, answers(&command))
    };
    examples.into_iter().map(answered).collect()
}

fn answers(command: &Command) -> &'static [&'static str] {
    match command {
        // Silence is the good answer.
        Command::Ack { .. } => &["ERROR"],
        Command::Ping => &["PONG"],
        // The first one is answered with what a connection begins with; a token that is not valid closes 4001.
        Command::Auth(_) => &["OK", "WELCOME", "ERROR"],
    }
}

/// One of each reply.
#[must_use]
pub fn replies() -> Vec<Reply<'static>> {
    let id = uuid::uuid!("0193a5c0-0000-7000-8000-000000000002");
    let reference: Option<&RawValue> = serde_json::from_str(REF).ok();
    vec![
        Reply::Welcome {
            connection_id: ConnectionId(id),
            node: NodeId(id),
            seq: 12,
            epoch: Some(EpochId(id)),
            heartbeat_ms: 25_000,
            limits: WelcomeLimits { message_bytes_max: 65_536, messages_per_second: 20, messages_burst: 60 },
        },
        Reply::Resync { reason: ResyncReason::TooFarBehind, from_seq: 12 },
        Reply::Ok { r#ref: reference },
        Reply::refusal(CommandError::InvalidField("seq"), reference),
        Reply::Pong { r#ref: reference },
        Reply::Draining { reconnect_after_ms: 400 },
    ]
}
