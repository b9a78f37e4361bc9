//! How many may come in, from where, and how fast.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::peer::{Answer, Peer, close, request};
use super::{PATIENCE, World};
use crate::delivery::mailbox::Numbered;
use crate::domain::ids::EventId;
use crate::edge::http::problem::Problem;

const GET: &str = "GET /ws HTTP/1.1";
const PROTOCOL: (&str, Option<&str>) = ("Sec-WebSocket-Protocol", Some("fanlight.v1"));

/// A handshake with a good token, as a proxy would forward it.
async fn knock(world: &World, forwarded_for: Option<&str>) -> (Peer, Answer) {
    let bearer = format!("Bearer {}", world.token());
    let headers = [("Authorization", Some(bearer.as_str())), ("X-Forwarded-For", forwarded_for)];
    Peer::say(world, &request(GET, &headers), b"").await
}

/// A handshake of somebody who will say later who it is.
async fn knock_as_stranger(world: &World) -> (Peer, Answer) {
    Peer::say(world, &request(GET, &[PROTOCOL]), b"").await
}

fn assert_refused(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.head.contains("content-type: application/problem+json"), "{answer:?}");
    assert!(answer.head.contains("retry-after: "), "{answer:?}");
}

#[tokio::test]
async fn a_crowd_is_let_in_at_a_pace() {
    let world = World::with(|config| {
        config.handshakes_per_second = 1;
        config.handshakes_burst = 3;
    })
    .await;
    let mut inside = Vec::new();
    let refused = loop {
        let (peer, answer) = knock(&world, None).await;
        if answer.status != 101 {
            break answer;
        }
        inside.push(peer);
    };
    assert_refused(&refused, 503);
    assert!(inside.len() >= 3, "{}", inside.len());
    for peer in &mut inside {
        peer.is_alive().await;
    }
    // There is a place again later.
    while knock(&world, None).await.1.status != 101 {}
}

#[tokio::test]
async fn no_more_are_let_in_at_once_than_the_node_can_tell_what_they_missed() {
    let world = World::with(|config| config.beginning_max = 1).await;
    let begins = world.sockets.door.admit([192, 0, 2, 1].into()).unwrap();
    assert_refused(&knock(&world, None).await.1, 503);

    // Who has yet to say who it is keeps nobody out.
    let stranger = begins.distrust(&world.sockets.door).unwrap();
    let (mut first, answer) = knock(&world, None).await;
    assert_eq!(answer.status, 101);
    // Nor does who has begun.
    first.is_alive().await;
    assert_eq!(knock(&world, None).await.1.status, 101);
    drop(stranger);
}

#[test]
fn a_crowd_is_told_to_come_back_at_different_times() {
    let answers: BTreeSet<String> =
        std::iter::repeat_with(|| format!("{:?}", Problem::overloaded())).take(50).collect();
    assert!(answers.len() > 1, "{answers:?}");
}

#[tokio::test]
async fn an_address_has_a_bounded_number_of_connections() {
    let world = World::with(|config| config.connections_per_address_max = 2).await;
    let mut kept = [knock(&world, None).await.0, knock(&world, None).await.0];
    // Nobody here is a trusted proxy: what a client says of its address is not believed.
    for forwarded_for in [None, Some("192.0.2.1"), Some("192.0.2.2"), Some("127.0.0.2")] {
        assert_refused(&knock(&world, forwarded_for).await.1, 429);
    }
    for peer in &mut kept {
        peer.is_alive().await;
    }

    let [mut leaving, _stays] = kept;
    leaving.send(&close(1000, b"")).await;
    leaving.closed().await;
    while world.sockets.open() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(knock(&world, None).await.1.status, 101);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_counts_by_itself() {
    let world = World::served(
        |config| config.connections_per_address_max = 1,
        |server| {
            server.proxies = ["127.0.0.1/32".parse().unwrap()].into_iter().collect();
            server.connections_per_address_max = 1;
        },
    )
    .await;
    let mut inside = Vec::new();
    for (forwarded_for, status) in [
        ("192.0.2.1", 101),
        ("192.0.2.2", 101),
        ("192.0.2.1", 429),
        // The proxy appends what it saw to what the client had written.
        ("198.51.100.7, 192.0.2.1", 429),
        ("nonsense, 192.0.2.1", 429),
        ("192.0.2.1, 192.0.2.3", 101),
        ("2001:db8:1:2::a", 101),
        ("2001:db8:1:2::b", 429),
        ("2001:db8:1:3::a", 101),
    ] {
        let (peer, answer) = knock(&world, Some(forwarded_for)).await;
        assert_eq!(answer.status, status, "{forwarded_for}");
        inside.push(peer);
    }
}

#[tokio::test]
async fn an_address_has_few_connections_that_nobody_vouches_for() {
    let world = World::with(|config| config.unauthenticated_per_address_max = 1).await;
    let (mut stranger, answer) = knock_as_stranger(&world).await;
    assert_eq!(answer.status, 101);
    assert_refused(&knock_as_stranger(&world).await.1, 429);
    assert_refused(&Peer::say(&world, &request("GET /ws?token=nonsense HTTP/1.1", &[]), b"").await.1, 429);
    assert_eq!(knock(&world, None).await.1.status, 101, "somebody known is no stranger");

    stranger.send_json(&json!({"type": "AUTH", "token": world.token()})).await;
    assert_eq!(stranger.json().await["type"], "WELCOME");
    assert_eq!(knock_as_stranger(&world).await.1.status, 101);
}

#[tokio::test]
async fn of_many_connections_at_once_a_user_gets_exactly_as_many_as_allowed() {
    const ALLOWED: usize = 3;
    let world = World::with(|config| config.connections_per_user_max = ALLOWED).await;
    let bearer = format!("Bearer {}", world.token());
    let headers = [("Authorization", Some(bearer.as_str()))];
    let peers = join_all((0..20).map(|_| Peer::connect_with(&world, &headers))).await;
    // Whoever is let in answers; whoever is not was told why.
    let outcomes = join_all(peers.into_iter().map(async |mut peer| {
        peer.send(&super::peer::frame(super::peer::PING, b"in?")).await;
        let (first, payload) = peer.frame().await;
        if first == super::peer::CLOSE {
            assert_eq!(payload, [&1008_u16.to_be_bytes()[..], b"Too many connections"].concat());
        }
        (first, peer)
    }))
    .await;
    let inside = outcomes.iter().filter(|(first, _)| *first == super::peer::PONG).count();
    assert_eq!(inside, ALLOWED);
}

#[tokio::test]
async fn a_node_without_memory_takes_nobody_and_frees_itself_of_who_holds_the_most() {
    const FRAME_BYTES: usize = 60_000;
    let world = World::with(|config| config.memory_bytes_max = 4 * FRAME_BYTES).await;
    let parts = &world.sockets.parts;
    let mut well = Peer::connect(&world).await;
    well.is_alive().await;
    let others: BTreeSet<_> = parts.registry.all().iter().map(|mailbox| mailbox.connection).collect();
    let stalled = Peer::connect(&world).await;
    let mailbox = loop {
        let added = parts.registry.all().into_iter().find(|it| !others.contains(&it.connection));
        match added {
            Some(mailbox) => break mailbox,
            None => tokio::task::yield_now().await,
        }
    };

    // Its client reads nothing: the kernel's buffers fill up, then its queue, then the budget of all.
    let mut seq = 0;
    while !parts.budget.is_exhausted() {
        seq += 1;
        let frame = [&[0x82, 0x7E][..], &60_000_u16.to_be_bytes(), &vec![7; FRAME_BYTES]].concat();
        mailbox.offer(Numbered { id: EventId::generate(), seq, frame: frame.into(), trace: None });
        tokio::task::yield_now().await;
    }
    assert_refused(&knock(&world, None).await.1, 503);

    while world.sockets.open() > 1 {
        parts.budget.relieve(&parts.registry);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // On a busy machine the write may have timed out first; then what waited is freed with the mailbox.
    drop(mailbox);
    assert_eq!(parts.budget.bytes(), 0);
    well.is_alive().await;
    assert_eq!(knock(&world, None).await.1.status, 101);
    drop(stalled);
}

/// What a connection that says nothing before it has been asked is answered.
async fn answer_to(world: &World) -> String {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(request(GET, &[]).as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("the connection ends").unwrap();
    answer.to_ascii_lowercase()
}

#[tokio::test]
async fn who_only_holds_places_does_not_keep_the_others_waiting() {
    let world = World::served(|_| {}, |server| server.connections_max = 2).await;
    // Connected, and silent.
    let idle =
        [TcpStream::connect(world.address).await.unwrap(), TcpStream::connect(world.address).await.unwrap()];
    let answer = answer_to(&world).await;
    assert!(answer.starts_with("http/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: ") && answer.contains(r#""error":"overloaded""#), "{answer}");
    drop(idle);
    while knock(&world, None).await.1.status != 101 {}
}

#[tokio::test]
async fn an_address_holds_few_places_before_it_has_asked_for_anything() {
    let world = World::served(|_| {}, |server| server.connections_per_address_max = 1).await;
    let idle = TcpStream::connect(world.address).await.unwrap();
    let answer = answer_to(&world).await;
    assert!(answer.starts_with("http/1.1 429 "), "{answer}");
    assert!(answer.contains(r#""error":"too_many_connections""#), "{answer}");
    drop(idle);
    while knock(&world, None).await.1.status != 101 {}
}
