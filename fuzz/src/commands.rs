//! The session protocol: any text in a frame.

use fanlight::edge::ws::protocol::{Command, Reply, parse};
use serde::de::IgnoredAny;
use serde_json::Value;

/// What is taken for a command says the same by serde's own reading, and every answer is JSON that anybody can read, with
/// a short `ref` and nothing else of what was said.
///
/// # Panics
/// When that is not so.
pub fn commands(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (command, reference) = parse(text);
    let answer = match &command {
        Ok(_) => Reply::Ok { r#ref: reference },
        Err(error) => Reply::refusal(*error, reference),
    };
    let answer = serde_json::to_string(&answer).expect("a reply can be written");
    assert!(answer.len() <= 300, "{answer}");
    let answer: Value = serde_json::from_str(&answer).expect("a reply is JSON");
    let Ok(command) = command else { return };

    serde_json::from_str::<IgnoredAny>(text).expect("a command is JSON");
    // Stricter than we are about strings and numbers that nobody asks for.
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    if !answer["ref"].is_null() {
        assert_eq!(answer["ref"], value["ref"]);
    }
    let kind = value["type"].as_str().expect("a command has a type");
    match command {
        Command::Ping => assert_eq!(kind, "PING"),
        Command::Ack { seq } => assert_eq!((kind, value["seq"].as_i64()), ("ACK", Some(seq))),
        Command::Auth(auth) => {
            assert_eq!((kind, value["token"].as_str()), ("AUTH", Some(auth.token.as_str())));
            assert_eq!(value["since"].as_i64(), auth.since);
            assert_eq!(value["deviceId"].as_str(), auth.device.as_deref());
        }
    }
}
