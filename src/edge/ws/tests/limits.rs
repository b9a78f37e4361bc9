//! What a client may not do too often, too fast or too slowly, and what costs it only an answer.

use std::time::Duration;

use serde_json::json;

use super::World;
use super::peer::{GOES_ON, PING, PONG, Peer, TEXT, TEXT_BEGINS, frame, request};

/// What marks a compressed message (RFC 7692 §6).
const RSV1: u8 = 0x40;

#[tokio::test]
async fn pings_have_a_rate_of_their_own() {
    let world = World::with(|config| config.pings_burst = 5).await;
    let mut peer = Peer::connect(&world).await;
    peer.send(&frame(PING, b"now").repeat(5)).await;
    for _ in 0..5 {
        assert_eq!(peer.frame().await, (PONG, b"now".to_vec()));
    }
    peer.send(&frame(PING, b"").repeat(1_000)).await;
    assert_eq!(peer.closed().await, (4008, "Too many messages".into()));
}

#[tokio::test]
async fn pongs_that_nobody_asked_for_are_messages() {
    let world = World::new().await;
    let mut peer = Peer::connect(&world).await;
    peer.send(&frame(PONG, b"").repeat(1_000)).await;
    assert_eq!(peer.closed().await.0, 4008);
}

#[tokio::test]
async fn bytes_have_a_rate_of_their_own() {
    let world = World::with(|config| {
        config.message_bytes_max = 500;
        (config.bytes_per_second, config.bytes_burst) = (1, 1_000);
    });
    let mut peer = Peer::connect(&world.await).await;
    let long = json!({"type": "PING", "pad": "x".repeat(400)}).to_string();
    peer.send(&frame(TEXT, long.as_bytes()).repeat(3)).await;
    for _ in 0..2 {
        assert_eq!(peer.json().await["type"], "PONG");
    }
    assert_eq!(peer.closed().await.0, 4008);
}

#[tokio::test]
async fn a_message_has_to_be_complete_in_time() {
    let world = World::with(|config| config.assembly_timeout_ms = 200).await;
    let mut peer = Peer::connect(&world).await;
    // The connection as such is busy.
    peer.send(&[frame(TEXT_BEGINS, b"{"), frame(PING, b"alive"), frame(GOES_ON, b" ")].concat()).await;
    assert_eq!(peer.frame().await, (PONG, b"alive".to_vec()));
    assert_eq!(peer.closed().await, (1008, "Message took too long".into()));
}

#[tokio::test]
async fn between_messages_nothing_is_late() {
    let world = World::with(|config| config.assembly_timeout_ms = 1).await;
    let mut peer = Peer::connect(&world).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        peer.is_alive().await;
    }
}

#[tokio::test]
async fn who_never_finishes_a_frame_ends_as_the_dead_do() {
    let world = World::with(|config| (config.heartbeat_ms, config.pong_timeout_ms) = (200, 200)).await;
    let mut peer = Peer::connect(&world).await;
    peer.send(&frame(TEXT, b"{}")[..3]).await;
    assert_eq!(peer.closed().await, (4002, "Heartbeat lost".into()));
}

#[tokio::test]
async fn a_stranger_may_say_no_more_than_who_he_is() {
    let world = World::with(|config| config.message_bytes_max = 60_000).await;
    let protocol = [("Sec-WebSocket-Protocol", Some("fanlight.v1"))];
    let auth = |token: &str| json!({"type": "AUTH", "token": token}).to_string();
    let mut peer = Peer::connect_with(&world, &protocol).await;
    peer.send(&frame(TEXT, auth(&"x".repeat(10_000)).as_bytes())).await;
    assert_eq!(peer.closed().await.0, 1009);

    let mut peer = Peer::connect_with(&world, &protocol).await;
    let long = json!({"type": "PING", "pad": "x".repeat(50_000)}).to_string();
    let (auth, long) = (frame(TEXT, auth(&world.token()).as_bytes()), frame(TEXT, long.as_bytes()));
    // In one go, so that the second is read into the buffer of the first.
    peer.send(&[auth, long].concat()).await;
    assert_eq!(peer.json().await["type"], "WELCOME");
    assert_eq!(peer.json().await["type"], "PONG");
}

#[tokio::test]
async fn compression_is_not_taken_up() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.token());
    let headers = [
        ("Authorization", Some(bearer.as_str())),
        (
            "Sec-WebSocket-Extensions",
            Some("permessage-deflate; client_max_window_bits, x-webkit-deflate-frame"),
        ),
    ];
    let (mut peer, answer) = Peer::say(&world, &request("GET /ws HTTP/1.1", &headers), b"").await;
    assert_eq!(answer.status, 101);
    assert!(!answer.head.contains("sec-websocket-extensions"), "{answer:?}");
    peer.send(&frame(TEXT | RSV1, b"\xAA\x02\x00")).await;
    assert_eq!(peer.closed().await.0, 1002);
}

#[tokio::test]
async fn what_is_no_command_is_answered_and_the_connection_stays() {
    let world = World::new().await;
    let mut peer = Peer::connect(&world).await;
    let deep = format!(r#"{{"type":"PING","ref":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    let cases = [
        (r#"{"type":"NOPE","ref":1}"#, "unknown_command"),
        (r#"{"type":"PING","type":"PING"}"#, "malformed_command"),
        (r#"{"type":"PING","other":1,"other":1}"#, "malformed_command"),
        (r#"{"type":"ACK","seq":1e999}"#, "invalid_command"),
        (r#"{"type":"ACK","seq":-1}"#, "invalid_ack"),
        ("[]", "malformed_command"),
        ("", "malformed_command"),
        (&deep, "malformed_command"),
    ];
    for (text, code) in cases {
        peer.send(&frame(TEXT, text.as_bytes())).await;
        let answer = peer.json().await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("ERROR"), &json!(code)), "{text}");
    }
    peer.is_alive().await;
}
