//! Which handshakes are taken, and what is said to the others.

use super::peer::{Peer, TEXT, frame, request};
use super::{ALLOWED_ORIGIN, World};

/// A request line, headers, and the status that answers them.
type Case<'a> = (&'a str, &'a [(&'a str, Option<&'a str>)], u16);

const GET: &str = "GET /ws HTTP/1.1";

#[tokio::test]
async fn a_handshake_that_is_not_one_is_refused_with_its_status() {
    let world = World::new().await;
    let cases: &[Case<'_>] = &[
        ("POST /ws HTTP/1.1", &[("Content-Length", Some("0"))], 405),
        ("PUT /ws HTTP/1.1", &[("Content-Length", Some("0"))], 405),
        ("GET /ws HTTP/1.0", &[], 400),
        ("GET /elsewhere HTTP/1.1", &[], 404),
        (GET, &[("Upgrade", None)], 426),
        (GET, &[("Upgrade", Some("h2c"))], 426),
        (GET, &[("Upgrade", Some("websocketx"))], 426),
        (GET, &[("Connection", None)], 400),
        (GET, &[("Connection", Some("keep-alive"))], 400),
        (GET, &[("Sec-WebSocket-Version", None)], 426),
        (GET, &[("Sec-WebSocket-Version", Some("8"))], 426),
        (GET, &[("Sec-WebSocket-Version", Some("13, 8"))], 426),
        (GET, &[("Sec-WebSocket-Key", None)], 400),
        (GET, &[("Sec-WebSocket-Key", Some(""))], 400),
        (GET, &[("Sec-WebSocket-Key", Some("c2hvcnQ="))], 400),
        (GET, &[("Sec-WebSocket-Key", Some("not base64 at all!!!!!!=="))], 400),
        (
            GET,
            &[
                ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZQ==")),
                ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZQ==")),
            ],
            400,
        ),
        ("GET /ws?since=soon HTTP/1.1", &[], 400),
        ("GET /ws?token=a&token=b HTTP/1.1", &[], 400),
        (GET, &[("Fanlight-Since", Some("1.5"))], 400),
    ];
    for (line, headers, status) in cases {
        let (_, answer) = Peer::say(&world, &request(line, headers), b"").await;
        assert_eq!(answer.status, *status, "{line} {headers:?} {answer:?}");
        assert!(answer.head.contains("content-type: application/problem+json"), "{answer:?}");
        if answer.status == 426 {
            assert!(answer.head.contains("sec-websocket-version: 13"), "{answer:?}");
            assert!(answer.head.contains("upgrade: websocket"), "{answer:?}");
        }
    }
    assert_eq!(world.sockets.open(), 0);
}

#[tokio::test]
async fn only_our_own_origins_may_open_a_socket() {
    let world = World::new().await;
    let cases: &[(&[&str], u16)] = &[
        (&[], 101),
        (&[ALLOWED_ORIGIN], 101),
        (&["HTTPS://APP.EXAMPLE"], 101),
        (&["https://fanlight.example"], 101),
        (&["http://FANLIGHT.example"], 101),
        (&["null"], 403),
        (&[""], 403),
        (&["https://app.example.evil.example"], 403),
        (&["https://app.exampl"], 403),
        (&["https://evil-app.example"], 403),
        (&["https://app.example:444"], 403),
        (&["http://app.example"], 403),
        (&["https://fanlight.example.evil.example"], 403),
        (&["https://evil.example/https://app.example"], 403),
        (&[ALLOWED_ORIGIN, ALLOWED_ORIGIN], 403),
        (&[ALLOWED_ORIGIN, "https://evil.example"], 403),
        (&["https://evil.example", ALLOWED_ORIGIN], 403),
    ];
    for (origins, status) in cases {
        let headers: Vec<_> = origins.iter().map(|origin| ("Origin", Some(*origin))).collect();
        let (_, answer) = Peer::say(&world, &request(GET, &headers), b"").await;
        assert_eq!(answer.status, *status, "{origins:?} {answer:?}");
    }
    let nowhere = request(GET, &[("Host", None), ("Origin", Some("null"))]);
    assert_eq!(Peer::say(&world, &nowhere, b"").await.1.status, 403);
}

#[tokio::test]
async fn a_full_node_says_so_and_has_room_again_later() {
    let world = World::with(|config| config.connections_max = 1).await;
    let mut first = Peer::connect(&world).await;
    let bearer = format!("Bearer {}", world.token());
    let request = request(GET, &[("Authorization", Some(&bearer))]);
    let (_, answer) = Peer::say(&world, &request, b"").await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: "), "{answer:?}");
    first.send(&super::peer::close(1000, b"")).await;
    first.closed().await;
    drop(first);
    while world.sockets.open() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(Peer::say(&world, &request, b"").await.1.status, 101);
}

#[tokio::test]
async fn a_message_in_the_segment_of_the_handshake_is_read() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.token());
    let request = request(GET, &[("Authorization", Some(&bearer))]);
    let early = [frame(TEXT, br#"{"type":"PING","ref":1}"#), frame(TEXT, br#"{"type":"PING","ref":2}"#)];
    let (mut peer, answer) = Peer::say(&world, &request, &early.concat()).await;
    assert_eq!(answer.status, 101);
    for number in [1, 2] {
        assert_eq!(peer.json().await, serde_json::json!({"type": "PONG", "ref": number}));
    }
}

#[tokio::test]
async fn a_node_answers_under_its_other_names_too() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.token());
    for path in ["/ws/", "/api/v1/ws", "/api/v1/ws/?since=0"] {
        let request = request(&format!("GET {path} HTTP/1.1"), &[("Authorization", Some(&bearer))]);
        assert_eq!(Peer::say(&world, &request, b"").await.1.status, 101, "{path}");
    }
}
