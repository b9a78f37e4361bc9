//! A client that is gone without a word: its side of the connection says nothing any more, and TCP does not know.

use std::time::Duration;

use tokio::time::timeout;

use super::peer::{PING, PONG, Peer, frame};
use super::{PATIENCE, World};
use crate::delivery::mailbox::Numbered;
use crate::domain::ids::EventId;
use crate::edge::ws::Config;

/// Long enough that whoever is scheduled late answers in time, short enough to wait for.
const QUICK: fn(&mut Config) = |config| {
    config.heartbeat_ms = 200;
    config.pong_timeout_ms = 1_500;
};

#[tokio::test]
async fn who_answers_no_ping_is_found_and_forgotten_in_seconds() {
    let world = World::with(QUICK).await;
    let mut gone = Peer::connect(&world).await;
    gone.is_alive().await;
    assert_eq!(world.sockets.parts.registry.len(), 1);

    // The close frame is for one that was only slow; nothing is waited for.
    assert_eq!(gone.closed().await, (4002, "Heartbeat lost".into()));
    assert!(world.sockets.parts.registry.is_empty());
}

#[tokio::test]
async fn who_answers_pings_stays_however_silent_otherwise() {
    let world = World::with(QUICK).await;
    let mut quiet = Peer::connect(&world).await;
    for _ in 0..10 {
        let (kind, payload) = quiet.frame().await;
        assert_eq!(kind, PING);
        quiet.send(&frame(PONG, &payload)).await;
    }
    quiet.is_alive().await;
}

#[tokio::test]
async fn who_takes_nothing_is_forgotten_although_nothing_can_be_said_to_it() {
    let world = World::with(|config| {
        QUICK(config);
        config.write_timeout_ms = 500;
    })
    .await;
    let stalled = Peer::connect(&world).await;
    let registry = &world.sockets.parts.registry;
    let mailbox = loop {
        match registry.all().pop() {
            Some(mailbox) => break mailbox,
            None => tokio::task::yield_now().await,
        }
    };
    // More than all buffers on the way take, unread.
    let offer = async {
        for seq in 1.. {
            let body = vec![b'x'; 60_000];
            let frame = [&[0x81, 0x7E][..], &60_000_u16.to_be_bytes(), &body].concat();
            mailbox.offer(Numbered { id: EventId::generate(), seq, frame: frame.into(), trace: None });
            if registry.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, offer).await.expect("the connection is given up");
    while world.sockets.open() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.sockets.parts.budget.bytes(), mailbox.weight());
    drop((mailbox, stalled));
    assert_eq!(world.sockets.parts.budget.bytes(), 0);
}
