//! `docs/protocol.md`, which people write clients by, says what the server does.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use crate::db::EpochId;
use crate::domain::ids::{ConnectionId, NodeId};
use crate::edge::http::problem::ErrorCode;
use crate::edge::ws::close::{Advice, Closing};
use crate::edge::ws::protocol::{self, CommandError, CommandErrorCode, Reply, ResyncReason, WelcomeLimits};
use crate::telemetry::catalogue::{self, Values};

const PAGE: &str = include_str!("../../../../docs/protocol.md");

/// The text below a heading, up to the next of its kind.
fn section(heading: &str) -> &'static str {
    let text = PAGE.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no {heading}"));
    text.split("\n## ").next().unwrap()
}

/// The rows of a section's tables that begin with a number, without the spaces.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let rows = section(heading).lines().filter_map(|line| line.strip_prefix("| "));
    let rows = rows.map(|row| row.trim_end_matches(" |").split('|').map(str::trim).collect::<Vec<_>>());
    rows.filter(|row| row[0].parse::<u16>().is_ok()).collect()
}

/// The examples of a section.
fn examples(heading: &str) -> Vec<&'static str> {
    section(heading).lines().filter(|line| line.starts_with("{\"type\":")).collect()
}

/// The names of an object's fields, with those of the objects in it.
fn fields(value: &Value) -> Vec<String> {
    let Value::Object(object) = value else { return Vec::new() };
    let mut names: Vec<String> = object
        .iter()
        .flat_map(|(name, value)| {
            let inner = fields(value).into_iter().map(move |inner| format!("{name}.{inner}"));
            std::iter::once(name.clone()).chain(inner)
        })
        .collect();
    names.sort();
    names
}

#[test]
fn the_close_codes_are_those_of_the_server() {
    let advice = |closing: &Closing| match closing.advice() {
        Advice::Stop => "stop",
        Advice::Resume => "resume",
        Advice::BackOff => "back off",
        Advice::Refresh => "refresh",
    };
    let expected: Vec<[String; 3]> = Closing::ALL
        .iter()
        .map(|it| [it.code().to_string(), it.reason().to_owned(), advice(it).to_owned()])
        .collect();
    let documented: Vec<[String; 3]> =
        rows("Close codes").iter().map(|row| [row[0], row[1], row[2]].map(str::to_owned)).collect();
    assert_eq!(documented, expected);
}

#[test]
fn the_refusals_of_a_handshake_are_problems_that_there_are() {
    let rows = rows("Refusals");
    assert!(rows.len() > 5);
    for row in rows {
        let code = row[1].trim_matches('`');
        let known = ErrorCode::ALL.iter().find(|known| known.as_str() == code);
        let status = known.map(|known| known.status());
        assert_eq!(status, StatusCode::from_bytes(row[0].as_bytes()).ok(), "{code}");
    }
}

#[test]
fn every_event_has_an_example_with_its_place() {
    let metric = catalogue::find("fanlight_events_routed_total").unwrap();
    let Values::OneOf(kinds) = metric.labels[0].values else { panic!("the kinds are not a list") };
    let examples: Vec<Value> =
        examples("Events").into_iter().map(|it| serde_json::from_str(it).unwrap()).collect();
    let documented: BTreeSet<&str> = examples.iter().map(|it| it["type"].as_str().unwrap()).collect();
    assert_eq!(documented, kinds.iter().copied().chain(["UNREADABLE"]).collect());
    assert!(examples.iter().all(|example| example["id"].is_string() && example["seq"].is_i64()));
}

#[test]
fn the_commands_are_ones_that_the_server_takes() {
    let mut named: Vec<&str> = examples("Commands")
        .into_iter()
        .map(|example| protocol::parse(example).0.unwrap_or_else(|error| panic!("{example}: {error:?}")))
        .map(|command| command.as_str())
        .collect();
    named.sort_unstable();
    named.dedup();
    assert_eq!(named, ["ack", "auth", "ping"]);
}

#[test]
fn the_answers_look_as_the_server_gives_them() {
    let reference = serde_json::value::to_raw_value("a1").unwrap();
    let r#ref = Some(&*reference);
    let limits = WelcomeLimits { message_bytes_max: 1, messages_per_second: 1, messages_burst: 1 };
    let given = [
        Reply::Welcome {
            connection_id: ConnectionId::generate(),
            node: NodeId::generate(),
            seq: 1,
            epoch: Some(EpochId(Uuid::nil())),
            heartbeat_ms: 1,
            limits,
        },
        Reply::Resync { reason: ResyncReason::AnotherPast, from_seq: 1 },
        Reply::Ok { r#ref },
        Reply::Error { code: CommandErrorCode::InvalidAck, message: "m".into(), retry_after_ms: None, r#ref },
        Reply::Pong { r#ref },
        Reply::Draining { reconnect_after_ms: 1 },
    ];
    let documented: Vec<Value> =
        examples("Answers and notices").into_iter().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(documented.len(), given.len());
    for (reply, example) in given.iter().zip(&documented) {
        let reply = serde_json::to_value(reply).unwrap();
        assert_eq!(example["type"], reply["type"]);
        assert_eq!(fields(example), fields(&reply), "{example}");
    }
    for error in [CommandError::Malformed, CommandError::Unknown, CommandError::InvalidField("ref")] {
        let refusal = Reply::refusal(error, None);
        let code = serde_json::to_value(refusal).unwrap()["code"].as_str().unwrap().to_owned();
        assert!(section("Answers and notices").contains(&format!("`{code}`")), "{code}");
    }
    for reason in [
        ResyncReason::TooFarBehind,
        ResyncReason::BeyondRetention,
        ResyncReason::AheadOfServer,
        ResyncReason::AnotherPast,
    ] {
        assert!(section("Resume").contains(&format!("`{}`", reason.as_str())), "{reason:?}");
    }
}
