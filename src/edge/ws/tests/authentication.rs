//! Who may open a socket, and for how long.

use std::time::Duration;

use serde_json::json;

use super::World;
use super::peer::{PING, Peer, TEXT, close, frame, request};
use crate::domain::clock::{Clock as _, SystemClock};
use crate::domain::ids::{SessionId, UserId};

const PROTOCOL: (&str, Option<&str>) = ("Sec-WebSocket-Protocol", Some("fanlight.v1"));
const LONG: Duration = Duration::from_mins(15);

#[tokio::test]
async fn all_ways_to_show_a_token_are_equal() {
    let world = World::new().await;
    let token = world.token();
    let bearer = format!("Bearer {token}");
    let protocols = format!("fanlight.v1, bearer.{token}");
    let by_query = format!("GET /ws?token={token} HTTP/1.1");
    let plain = "GET /ws HTTP/1.1";
    for request in [
        request(plain, &[("Authorization", Some(&bearer))]),
        request(plain, &[("Sec-WebSocket-Protocol", Some(&protocols))]),
        request(&by_query, &[]),
    ] {
        let (mut peer, answer) = Peer::say(&world, &request, b"").await;
        assert_eq!(answer.status, 101);
        if answer.head.contains("sec-websocket-protocol") {
            assert_eq!(peer.json().await["type"], "WELCOME");
        }
        peer.is_alive().await;
    }
    let mut peer = Peer::connect_with(&world, &[PROTOCOL]).await;
    peer.send_json(&json!({"type": "AUTH", "token": token})).await;
    assert_eq!(peer.json().await["type"], "WELCOME");
    peer.is_alive().await;
}

#[tokio::test]
async fn the_token_in_the_sub_protocol_is_not_sent_back() {
    let world = World::new().await;
    let token = world.token();
    for offer in [format!("bearer.{token}, fanlight.v1"), format!("fanlight.v1,bearer.{token},other")] {
        let headers = [("Sec-WebSocket-Protocol", Some(offer.as_str()))];
        let (_, answer) = Peer::say(&world, &request("GET /ws HTTP/1.1", &headers), b"").await;
        assert!(answer.head.contains("sec-websocket-protocol: fanlight.v1\r\n"), "{answer:?}");
        assert!(!answer.head.contains("bearer"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_missing_or_wrong_token_is_told_after_the_handshake() {
    let world = World::new().await;
    let missing = (1008, "Missing JWT token".to_owned());
    let invalid = (1008, "Invalid JWT token".to_owned());
    let long_ago = SystemClock.now() - Duration::from_hours(1);
    let expired = super::key_ring().mint(UserId::generate(), SessionId::generate(), long_ago, LONG);
    for (query, expected) in [
        (String::new(), &missing),
        ("?token=".into(), &missing),
        ("?token=nonsense".into(), &invalid),
        (format!("?token={}x", world.token()), &invalid),
        (format!("?token={expired}"), &invalid),
    ] {
        let request = request(&format!("GET /ws{query} HTTP/1.1"), &[]);
        let (mut peer, answer) = Peer::say(&world, &request, b"").await;
        assert_eq!(answer.status, 101);
        assert_eq!(&peer.closed().await, expected, "{query}");
    }
    let headers = [PROTOCOL, ("Authorization", Some("Bearer nonsense"))];
    assert_eq!(Peer::connect_with(&world, &headers).await.closed().await, invalid);
}

#[tokio::test]
async fn the_first_frame_must_be_a_good_auth() {
    let world = World::new().await;
    let good = json!({"type": "AUTH", "token": world.token()}).to_string();
    for first in [
        frame(TEXT, br#"{"type":"PING"}"#),
        frame(TEXT, br#"{"type":"AUTH"}"#),
        frame(TEXT, br#"{"type":"AUTH","token":"nonsense"}"#),
        frame(TEXT, b"nonsense"),
        frame(PING, b""),
        frame(0x82, good.as_bytes()),
    ] {
        let mut peer = Peer::connect_with(&world, &[PROTOCOL]).await;
        peer.send(&[first, frame(TEXT, good.as_bytes())].concat()).await;
        assert_eq!(peer.closed().await, (4001, "Authentication failed".into()));
    }
    let mut peer = Peer::connect_with(&world, &[PROTOCOL]).await;
    peer.send(&close(1000, b"")).await;
    assert_eq!(peer.closed().await.0, 1000);
}

#[tokio::test]
async fn an_auth_that_does_not_come_in_time_is_not_waited_for() {
    let world = World::with(|config| config.auth_timeout_ms = 100).await;
    let mut peer = Peer::connect_with(&world, &[PROTOCOL]).await;
    // Half a frame is no frame.
    peer.send(&frame(TEXT, br#"{"type":"AUTH"}"#)[..5]).await;
    assert_eq!(peer.closed().await, (4001, "Authentication failed".into()));
}

#[tokio::test]
async fn a_welcome_says_what_a_client_must_know() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.token());
    let mut peer = Peer::connect_with(&world, &[PROTOCOL, ("Authorization", Some(&bearer))]).await;
    let welcome = peer.json().await;
    assert_eq!(welcome["type"], "WELCOME");
    assert_eq!(welcome["seq"], 0);
    assert_eq!(welcome["node"], world.sockets.parts.node.to_string());
    assert_eq!(welcome["heartbeatMs"], 25_000);
    assert_eq!(welcome["limits"]["messageBytesMax"], super::MESSAGE_BYTES_MAX);
    assert!(welcome["connectionId"].is_string());
}

#[tokio::test]
async fn a_connection_ends_with_its_token_unless_that_is_renewed() {
    let world = World::new().await;
    let (user, session) = (UserId::generate(), SessionId::generate());
    let bearer = format!("Bearer {}", world.token_of(user, session, Duration::from_secs(2)));
    let headers = [("Authorization", Some(bearer.as_str()))];
    let mut renewing = Peer::connect_with(&world, &headers).await;
    let mut ending = Peer::connect_with(&world, &headers).await;
    let renewal = json!({"type": "AUTH", "token": world.token_of(user, session, LONG), "ref": 1});
    renewing.send_json(&renewal).await;
    assert_eq!(renewing.json().await, json!({"type": "OK", "ref": 1}));
    assert_eq!(ending.closed().await, (4010, "Token expired".into()));
    renewing.is_alive().await;
}

#[tokio::test]
async fn a_connection_cannot_be_renewed_for_somebody_else() {
    let world = World::new().await;
    let (user, session) = (UserId::generate(), SessionId::generate());
    let bearer = format!("Bearer {}", world.token_of(user, session, LONG));
    for token in [
        world.token_of(UserId::generate(), session, LONG),
        world.token_of(user, SessionId::generate(), LONG),
        "nonsense".to_owned(),
    ] {
        let mut peer = Peer::connect_with(&world, &[("Authorization", Some(&bearer))]).await;
        peer.send_json(&json!({"type": "AUTH", "token": token})).await;
        assert_eq!(peer.closed().await, (4001, "Authentication failed".into()));
    }
}

#[tokio::test]
async fn a_user_has_a_bounded_number_of_connections() {
    let world = World::with(|config| config.connections_per_user_max = 2).await;
    let bearer = format!("Bearer {}", world.token());
    let headers = [("Authorization", Some(bearer.as_str()))];
    let mut kept = [Peer::connect_with(&world, &headers).await, Peer::connect_with(&world, &headers).await];
    for peer in &mut kept {
        peer.is_alive().await;
    }
    let mut third = Peer::connect_with(&world, &headers).await;
    assert_eq!(third.closed().await, (1008, "Too many connections".into()));
    for peer in &mut kept {
        peer.is_alive().await;
    }
}
