//! The ways to open a socket, and how it is closed.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::client::Client;
use crate::examples::tokens::{Forged, mint};
use crate::shape::assert_shape;
use crate::shared::{cluster, couple, person};
use crate::socket::Socket;

fn url(client: &Client, rest: &str) -> String {
    format!("{}/ws{rest}", client.base_url)
}

fn closed(code: u16, reason: &str) -> (u16, String) {
    (code, reason.to_owned())
}

#[tokio::test]
async fn all_four_ways_to_authenticate_are_equal() {
    let (ada, ben) = couple().await;
    let token = &ben.access_token;
    let bearer = format!("Bearer {token}");
    let protocols = format!("fanlight.v1, bearer.{token}");
    let mut by_header = Socket::open(&url(&ben, ""), &[("authorization", &bearer)]).await;
    let mut by_query = Socket::open(&url(&ben, &format!("?token={token}")), &[]).await;
    let mut by_protocol = Socket::open(&url(&ben, ""), &[("sec-websocket-protocol", &protocols)]).await;
    let mut by_frame = Socket::open(&url(&ben, ""), &[("sec-websocket-protocol", "fanlight.v1")]).await;
    by_frame.send(json!({"type": "AUTH", "token": token})).await;

    for plain in [&mut by_header, &mut by_query] {
        assert_eq!(plain.protocol, None);
        plain.expect_nothing_more().await;
    }
    for v1 in [&mut by_protocol, &mut by_frame] {
        // The token is not repeated in the answer.
        assert_eq!(v1.protocol.as_deref(), Some("fanlight.v1"));
        assert_shape(
            &v1.next_event().await,
            &json!({
                "type": "WELCOME", "connectionId": "<uuid>", "node": "<uuid>", "seq": 1, "epoch": "<text>",
                "heartbeatMs": 25_000,
                "limits": {"messageBytesMax": 65_536, "messagesPerSecond": 20, "messagesBurst": 60},
            }),
        );
        v1.expect_nothing_more().await;
    }

    ada.patch("/status", json!({"status": "BUSY"})).await.expect(200);
    for socket in [&mut by_header, &mut by_query, &mut by_protocol, &mut by_frame] {
        let event = socket.expect_event("PARTNER_STATUS_CHANGED").await;
        assert_eq!((&event["partnerId"], &event["seq"]), (&json!(ada.id), &json!(2)));
    }
    by_frame.send(json!({"type": "ACK", "seq": 2})).await;
    crate::shared::settled(&ben).await;
}

#[tokio::test]
async fn without_a_token_or_with_a_bad_one_the_socket_is_closed_with_the_reason() {
    let ada = person("ada").await;
    for rest in ["", "?token=", "?since=3"] {
        let mut socket = Socket::open(&url(&ada, rest), &[]).await;
        assert_eq!(socket.expect_close().await, closed(1008, "Missing JWT token"), "{rest}");
    }
    for forged in Forged::ALL {
        let token = forged.token(&ada).await;
        let mut socket = Socket::open(&url(&ada, &format!("?token={token}")), &[]).await;
        assert_eq!(socket.expect_close().await, closed(1008, "Invalid JWT token"), "{forged:?}");
        let bearer = format!("Bearer {token}");
        let mut socket = Socket::open(&url(&ada, ""), &[("authorization", &bearer)]).await;
        assert_eq!(socket.expect_close().await, closed(1008, "Invalid JWT token"), "{forged:?}");
        let protocols = format!("fanlight.v1, bearer.{token}");
        let mut socket = Socket::open(&url(&ada, ""), &[("sec-websocket-protocol", &protocols)]).await;
        assert_eq!(socket.expect_close().await, closed(1008, "Invalid JWT token"), "{forged:?}");
    }
}

#[tokio::test]
async fn a_first_frame_that_is_late_or_no_auth_closes_4001() {
    let ada = person("ada").await;
    let open = async || Socket::open(&url(&ada, ""), &[("sec-websocket-protocol", "fanlight.v1")]).await;
    let mut silent = open().await;
    let forged = Forged::Expired.token(&ada).await;
    for first in [json!({"type": "AUTH", "token": forged}), json!({"type": "PING"}), json!({"type": "AUTH"})]
    {
        let mut socket = open().await;
        socket.send(first.clone()).await;
        assert_eq!(socket.expect_close().await, closed(4001, "Authentication failed"), "{first}");
    }
    assert_eq!(silent.expect_close().await, closed(4001, "Authentication failed"));
}

#[tokio::test]
async fn a_socket_does_not_outlive_its_token_unless_it_gets_a_new_one() {
    let ada = person("ada").await;
    let token = mint(&ada, Duration::from_secs(2)).await;
    let open = async || Socket::open(&url(&ada, &format!("?token={token}")), &[]).await;
    let (mut renewed, mut left) = (open().await, open().await);
    renewed.send(json!({"type": "AUTH", "token": ada.access_token, "ref": 7})).await;
    assert_eq!(renewed.next_event().await, json!({"type": "OK", "ref": 7}));
    assert_eq!(left.expect_close().await, closed(4010, "Token expired"));
    renewed.expect_nothing_more().await;
}

#[tokio::test]
async fn what_is_no_command_is_answered_and_the_socket_stays_open() {
    let ada = person("ada").await;
    let mut socket = ada.connect(&ada.base_url, "").await;
    for (command, code) in [
        (r#"{"type":"NOPE","ref":"a"}"#, "unknown_command"),
        (r#"{"type":"ACK","ref":"a"}"#, "invalid_command"),
        (r#"{"type":"ACK","seq":99,"ref":"a"}"#, "invalid_ack"),
        ("{", "malformed_command"),
        (r#"["PING"]"#, "malformed_command"),
    ] {
        socket.send_message(Message::text(command)).await;
        let mut error = json!({"type": "ERROR", "code": code, "message": "<text>", "ref": "a"});
        if code == "malformed_command" {
            error.as_object_mut().unwrap().remove("ref");
        }
        assert_shape(&socket.next_event().await, &error);
    }
    socket.expect_nothing_more().await;
}

#[tokio::test]
async fn what_websocket_forbids_closes_with_the_code_of_the_rfc() {
    let ada = person("ada").await;
    let cases = [
        (Message::binary(vec![1, 2, 3]), (1003, "Only text messages are understood")),
        (Message::text("x".repeat(65_537)), (1009, "Message too big")),
    ];
    for (message, (code, reason)) in cases {
        let mut socket = ada.connect(&ada.base_url, "").await;
        socket.send_message(message).await;
        assert_eq!(socket.expect_close().await, closed(code, reason));
    }
    let mut flooding = ada.connect(&ada.base_url, "").await;
    for _ in 0..200 {
        flooding.send_message(Message::text(r#"{"type":"PING"}"#)).await;
    }
    assert_eq!(flooding.expect_close().await, closed(4008, "Too many messages"));
}

#[tokio::test]
async fn a_request_that_is_no_handshake_is_refused_by_http() {
    let ada = person("ada").await;
    ada.get("/ws").await.expect_problem(426, "upgrade_required");
    ada.post("/ws", Value::Null).await.expect_problem(405, "method_not_allowed");
    let foreign = [("origin", "https://evil.example")];
    let refused = Socket::try_open(&url(&ada, &format!("?token={}", ada.access_token)), &foreign).await;
    assert_eq!(refused.err(), Some(403));
    let bad = Socket::try_open(&url(&ada, &format!("?token={}&since=x", ada.access_token)), &[]).await;
    assert_eq!(bad.err(), Some(400));
}

#[tokio::test]
async fn a_client_that_says_what_it_saw_last_gets_the_rest_from_any_node() {
    let (ada, ben) = couple().await;
    for status in ["AVAILABLE", "BUSY", "OFFLINE"] {
        ada.patch("/status", json!({"status": status})).await.expect(200);
    }
    for node in &cluster().await.nodes {
        let mut socket = ben.connect(&node.http(), "since=2").await;
        for (seq, status) in [(3, "BUSY"), (4, "OFFLINE")] {
            let event = socket.next_event().await;
            assert_eq!((&event["seq"], &event["status"]), (&json!(seq), &json!(status)));
        }
        socket.expect_nothing_more().await;
    }
    let header = [("authorization", &*format!("Bearer {}", ben.access_token)), ("fanlight-since", "3")];
    let mut socket = Socket::open(&url(&ben, ""), &header).await;
    assert_eq!(socket.next_event().await["seq"], 4);
    let mut ahead = ben.connect(&ben.base_url, "since=99").await;
    assert_eq!(
        ahead.next_event().await,
        json!({"type": "RESYNC", "reason": "ahead_of_server", "fromSeq": 4})
    );
}

#[tokio::test]
async fn the_newest_connection_of_a_device_replaces_the_older_one() {
    let ada = person("ada").await;
    let nodes = &cluster().await.nodes;
    let mut older = ada.connect(&nodes[0].http(), "deviceId=phone").await;
    older.expect_nothing_more().await;
    let mut newer = ada.connect(&nodes[1].http(), "deviceId=phone").await;
    newer.expect_nothing_more().await;
    let reason = "Replaced by a newer connection of this device";
    assert_eq!(older.expect_close().await, closed(4005, reason));
    newer.expect_nothing_more().await;
}
