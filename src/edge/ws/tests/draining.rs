//! How a node that stops takes leave of its clients.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;
use tokio::time::Instant;

use super::World;
use super::peer::{Peer, request};
use crate::delivery::mailbox::Mailbox;

impl World {
    fn is_registered(&self, mailbox: &Mailbox) -> bool {
        self.sockets.parts.registry.contains(mailbox.user, mailbox.connection)
    }
}

const PROTOCOL: (&str, Option<&str>) = ("Sec-WebSocket-Protocol", Some("fanlight.v1"));

#[tokio::test]
async fn every_client_is_told_to_come_back_elsewhere() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.token());
    let mut hinted = Peer::connect_with(&world, &[PROTOCOL, ("Authorization", Some(&bearer))]).await;
    assert_eq!(hinted.json().await["type"], "WELCOME");
    let mut plain = Peer::connect(&world).await;
    plain.is_alive().await;

    world.sockets.drain(Duration::ZERO).await;

    assert_eq!(hinted.json().await["type"], "DRAINING");
    assert_eq!(hinted.closed().await, (1012, "Service restart".into()));
    assert_eq!(plain.closed().await, (1012, "Service restart".into()));
}

#[tokio::test]
async fn nobody_comes_in_while_the_node_drains() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.token());
    let mut undecided = Peer::connect_with(&world, &[PROTOCOL]).await;

    world.sockets.drain(Duration::ZERO).await;

    let request = request("GET /ws HTTP/1.1", &[("Authorization", Some(&bearer))]);
    assert_eq!(Peer::say(&world, &request, b"").await.1.status, 503);
    // It came before the drain, and says only now who it is.
    undecided.send_json(&json!({"type": "AUTH", "token": world.token()})).await;
    assert_eq!(undecided.json().await["type"], "WELCOME");
    assert_eq!(undecided.json().await["type"], "DRAINING");
    assert_eq!(undecided.closed().await, (1012, "Service restart".into()));
}

#[tokio::test]
async fn clients_are_sent_away_one_by_one_over_the_window() {
    const WINDOW: Duration = Duration::from_millis(400);
    let world = World::new().await;
    let mut peers = Vec::new();
    for _ in 0..4 {
        let mut peer = Peer::connect(&world).await;
        peer.is_alive().await;
        peers.push(peer);
    }
    let mailboxes = world.sockets.parts.registry.all();
    let told = || mailboxes.iter().filter(|mailbox| !world.is_registered(mailbox)).count();

    let started = Instant::now();
    let mut drain = pin!(world.sockets.drain(WINDOW));
    // One step of it: the first is told, then it waits.
    assert!(drain.as_mut().now_or_never().is_none());
    while told() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(told(), 1);
    drain.await;

    assert!(started.elapsed() >= WINDOW);
    for peer in &mut peers {
        assert_eq!(peer.closed().await, (1012, "Service restart".into()));
    }
}
