//! What a node's log says of its connections.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::client::DEADLINE;
use crate::shared::{cluster, couple, eventually, settled, socket_at};
use crate::socket::Socket;

/// Of the cluster that all tests share.
async fn log_of(node: usize) -> PathBuf {
    let cluster = cluster().await;
    cluster.state.path().join(format!("{}.log", cluster.nodes[node].name()))
}

/// What is said of the connections that have ended.
fn endings(log: &PathBuf) -> Vec<Value> {
    let log = std::fs::read_to_string(log).unwrap();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let fields = lines.map(|line| line["fields"].clone());
    fields.filter(|fields| fields["message"] == "connection closed").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_ended_is_one_line_and_a_stranger_is_none() {
    let (ada, ben) = couple().await;
    let log = log_of(1).await;
    // Refused, and no line.
    let mut stranger = Socket::open(&format!("{}/ws?token=none", cluster().await.nodes[1].http()), &[]).await;
    assert_eq!(stranger.expect_close().await.0, 1008);
    let mut socket = socket_at(&ben, 1).await;
    ada.patch("/status", json!({"status": "BUSY"})).await.expect(200);
    let event = socket.expect_event("PARTNER_STATUS_CHANGED").await;
    settled(&ben).await;
    socket.close().await;

    let is_it = |line: &Value| line["user.id"] == *ben.id && line["events.last_seq"] == event["seq"];
    let lines = eventually(DEADLINE, "the line", async || {
        let lines: Vec<Value> = endings(&log).into_iter().filter(is_it).collect();
        (!lines.is_empty()).then_some(lines)
    })
    .await;
    let [line] = &lines[..] else { panic!("{lines:#?}") };
    assert_eq!((&line["close.reason"], &line["began"]), (&json!("client"), &json!("fresh")));
    assert_eq!((&line["events.sent"], &line["events.confirmed"]), (&json!(1), &json!(1)));
    // A PING, a pong, and the end; a PONG, the event, and a ping for its receipt.
    assert_eq!((&line["received.messages"], &line["sent.messages"]), (&json!(3), &json!(3)));
    let bytes = |key: &str| line[key].as_u64().unwrap();
    assert!(bytes("received.bytes") > 0 && bytes("sent.bytes") > event.to_string().len() as u64);
    assert!(line["seconds"].as_f64().unwrap() < DEADLINE.as_secs_f64());
    assert!(line["connection.id"].is_string() && line["session.id"].is_string());
    assert!(endings(&log).iter().all(|line| line["user.id"].is_string()));

    let since = format!("since={}", event["seq"]);
    let socket = ben.connect(&cluster().await.nodes[1].http(), &since).await;
    socket.close().await;
    let is_it = |line: &Value| line["user.id"] == *ben.id && line["began"] == "lossless";
    eventually(DEADLINE, "the line of who came back", async || endings(&log).into_iter().find(is_it)).await;
}
