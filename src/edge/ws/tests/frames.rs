//! What a client may put on the wire, and with which code the rest is refused (RFC 6455).

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::peer::{
    BINARY, CLOSE, ENDS, GOES_ON, PING, PONG, Peer, TEXT, TEXT_BEGINS, close, frame, unmasked,
};
use super::{BURST, FRAGMENTS_MAX, MESSAGE_BYTES_MAX, World};

/// A command as long as a message may be, and `extra` bytes more.
fn long_text(extra: usize) -> Vec<u8> {
    let (head, tail) = (br#"{"type":"PING","pad":""#, br#""}"#);
    let pad = vec![b'x'; MESSAGE_BYTES_MAX + extra - head.len() - tail.len()];
    [&head[..], &pad, &tail[..]].concat()
}

fn split(payload: &[u8], at: usize) -> Vec<u8> {
    let (head, tail) = payload.split_at(at);
    [frame(TEXT_BEGINS, head), frame(ENDS, tail)].concat()
}

#[tokio::test]
async fn what_breaks_the_protocol_is_refused_with_its_code() {
    let world = World::new().await;
    let many =
        |count: usize| [frame(TEXT_BEGINS, b""), frame(GOES_ON, b"").repeat(count - 2), frame(ENDS, b"")];
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("unmasked text", unmasked(TEXT, b"{}"), 1002),
        ("unmasked ping", unmasked(PING, b""), 1002),
        ("unmasked close", unmasked(CLOSE, &1000_u16.to_be_bytes()), 1002),
        ("long ping", frame(PING, &[b'x'; 126]), 1002),
        ("long pong", frame(PONG, &[b'x'; 126]), 1002),
        ("long close", close(1000, &[b'x'; 124]), 1002),
        ("ping that begins", frame(0x09, b""), 1002),
        ("close that begins", frame(0x08, b""), 1002),
        ("pong that begins", frame(0x0A, b""), 1002),
        ("RSV1", frame(TEXT | 0x40, b"{}"), 1002),
        ("RSV2", frame(TEXT | 0x20, b"{}"), 1002),
        ("RSV3", frame(TEXT | 0x10, b"{}"), 1002),
        ("RSV1 on a ping", frame(PING | 0x40, b""), 1002),
        ("data opcode 3", frame(0x83, b""), 1002),
        ("data opcode 7", frame(0x87, b""), 1002),
        ("control opcode 11", frame(0x8B, b""), 1002),
        ("control opcode 15", frame(0x8F, b""), 1002),
        ("text inside a message", [frame(TEXT_BEGINS, b"a"), frame(TEXT, b"b")].concat(), 1002),
        ("binary inside a message", [frame(TEXT_BEGINS, b"a"), frame(BINARY, b"b")].concat(), 1002),
        ("beginning inside a message", frame(TEXT_BEGINS, b"a").repeat(2), 1002),
        ("end without a beginning", frame(ENDS, b"a"), 1002),
        ("middle without a beginning", frame(GOES_ON, b"a"), 1002),
        ("end after an end", [split(b"{}", 1), frame(ENDS, b"a")].concat(), 1002),
        ("broken text", frame(TEXT, b"\xC3\x28"), 1007),
        ("a surrogate", frame(TEXT, b"\xED\xA0\x80"), 1007),
        ("broken text in fragments", split(b"ab\xFFcd", 4), 1007),
        ("text that ends within a character", split(b"{\"\xC3", 2), 1007),
        ("too long", frame(TEXT, &long_text(1)), 1009),
        ("too long in fragments", split(&long_text(1), 500), 1009),
        ("far too long, only claimed", vec![TEXT, 0xFF, 0x7F, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1009),
        ("too many fragments", many(FRAGMENTS_MAX + 1).concat(), 1009),
        ("binary", frame(BINARY, b"{}"), 1003),
        ("binary in fragments", [frame(0x02, b"a"), frame(ENDS, b"b")].concat(), 1003),
        ("close with one byte", frame(CLOSE, b"\x03"), 1002),
        ("close 0", close(0, b""), 1002),
        ("close 999", close(999, b""), 1002),
        ("close 1004", close(1004, b""), 1002),
        ("close 1005", close(1005, b""), 1002),
        ("close 1006", close(1006, b""), 1002),
        ("close 1015", close(1015, b""), 1002),
        ("close 2999", close(2999, b""), 1002),
        ("close 5000", close(5000, b""), 1002),
        ("close with a broken reason", close(1000, b"\xC3\x28"), 1007),
    ];
    for (name, bytes, code) in cases {
        let mut peer = Peer::connect(&world).await;
        // Something behind it that nobody reads any more must not turn the end into a reset.
        peer.send(&[bytes, frame(TEXT, b"{}").repeat(100)].concat()).await;
        assert_eq!(peer.closed().await.0, code, "{name}");
    }
}

#[tokio::test]
async fn what_keeps_the_protocol_is_read() {
    let world = World::new().await;
    let mut peer = Peer::connect(&world).await;
    let text = r#"{"type":"PING","ref":"é€😀"}"#.as_bytes();
    let middle = text.iter().position(|byte| !byte.is_ascii()).unwrap() + 1;
    let fragments = [
        frame(TEXT_BEGINS, &text[..middle]),
        frame(PING, b"in between"),
        frame(GOES_ON, b""),
        frame(PONG, b"unasked"),
        frame(ENDS, &text[middle..]),
    ];
    peer.send(&fragments.concat()).await;
    assert_eq!(peer.frame().await, (PONG, b"in between".to_vec()));
    assert_eq!(peer.json().await["ref"], "é€😀");

    for longest in [frame(TEXT, &long_text(0)), split(&long_text(0), 1)] {
        peer.send(&longest).await;
        assert_eq!(peer.json().await["type"], "PONG");
    }
    let most = [frame(TEXT_BEGINS, b"{"), frame(GOES_ON, b"").repeat(FRAGMENTS_MAX - 2), frame(ENDS, b"}")];
    peer.send(&most.concat()).await;
    assert_eq!(peer.json().await["code"], "malformed_command");

    // A byte at a time.
    for byte in frame(TEXT, br#"{"type":"PING","ref":7}"#) {
        peer.send(&[byte]).await;
    }
    assert_eq!(peer.json().await["ref"], 7);
}

#[tokio::test]
async fn a_ping_is_answered_with_its_payload() {
    let world = World::new().await;
    let mut peer = Peer::connect(&world).await;
    for payload in [&b""[..], b"hello", &[0xFF; 125]] {
        peer.send(&frame(PING, payload)).await;
        assert_eq!(peer.frame().await, (PONG, payload.to_vec()));
    }
}

#[tokio::test]
async fn a_close_is_answered_with_its_own_code() {
    let world = World::new().await;
    for code in [1000_u16, 1001, 1011, 1014, 3000, 4999] {
        let mut peer = Peer::connect(&world).await;
        peer.send(&close(code, "bye é".as_bytes())).await;
        assert_eq!(peer.closed().await.0, code);
    }
    let mut peer = Peer::connect(&world).await;
    peer.send(&frame(CLOSE, b"")).await;
    assert_eq!(peer.closed_raw().await, b"");
}

#[tokio::test]
async fn a_flood_is_refused_after_the_burst() {
    let world = World::new().await;
    let mut peer = Peer::connect(&world).await;
    peer.send(&frame(TEXT, br#"{"type":"PING"}"#).repeat(BURST as usize * 3)).await;
    assert_eq!(peer.closed().await, (4008, "Too many messages".into()));
}

#[tokio::test]
async fn a_refusal_arrives_although_much_more_was_on_its_way() {
    let world = World::new().await;
    let mut peer = Peer::connect(&world).await;
    peer.send(&frame(BINARY, &vec![0; 1024 * 1024])).await;
    assert_eq!(peer.closed().await.0, 1009);
}

#[tokio::test]
async fn a_strict_peer_finds_nothing_wrong() {
    let world = World::new().await;
    let url = format!("ws://{}/ws?token={}", world.address, world.token());
    let (mut socket, _) = connect_async(&url).await.unwrap();
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("are you there".into()));
    socket.send(Message::text(r#"{"type":"PING","ref":"a"}"#)).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(r#"{"type":"PONG","ref":"a"}"#));
    socket.close(None).await.unwrap();
    assert!(matches!(socket.next().await.unwrap().unwrap(), Message::Close(_)));
    assert!(socket.next().await.is_none());

    let (mut socket, _) = connect_async(&url).await.unwrap();
    socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    let Message::Close(Some(close)) = socket.next().await.unwrap().unwrap() else { panic!("no close") };
    assert_eq!(close.code, CloseCode::Unsupported);
    assert!(socket.next().await.is_none());
}
