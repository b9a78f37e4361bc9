//! Clients that send half of a message: what they make the node keep is part of its memory.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::peer::{ENDS, GOES_ON, Peer, TEXT, TEXT_BEGINS, frame, request};
use super::{PATIENCE, World};
use crate::delivery::mailbox::Mailbox;
use crate::domain::ids::{SessionId, UserId};

const MESSAGE_BYTES: usize = 60_000;
const LIGHT_BYTES: usize = 9_000;

/// A message in two halves: of one frame that claims all of it, or of fragments. It is no command.
fn halves(bytes: usize, in_fragments: bool) -> [Vec<u8>; 2] {
    let payload = vec![b'x'; bytes];
    if in_fragments {
        let quarter = &payload[..bytes / 4];
        let halves = [[TEXT_BEGINS, GOES_ON], [GOES_ON, ENDS]];
        halves.map(|frames| frames.map(|first_byte| frame(first_byte, quarter)).concat())
    } else {
        let frame = frame(TEXT, &payload);
        let (first, second) = frame.split_at(bytes / 2);
        [first.to_vec(), second.to_vec()]
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

impl World {
    async fn of_large_messages(memory_bytes_max: usize) -> Self {
        Self::with(|config| {
            config.message_bytes_max = MESSAGE_BYTES;
            config.memory_bytes_max = memory_bytes_max;
        })
        .await
    }

    fn taken(&self) -> usize {
        self.sockets.parts.budget.bytes()
    }

    /// All connections, those that take the most first.
    fn by_weight(&self) -> Vec<Arc<Mailbox>> {
        let mut all = self.sockets.parts.registry.all();
        all.sort_by_key(|mailbox| Reverse(mailbox.weight()));
        all
    }

    /// Somebody who sends this, once it has taken so much memory.
    async fn who_sends(&self, bytes: &[u8], taken_bytes: usize) -> (UserId, Peer) {
        let user = UserId::generate();
        let token = self.token_of(user, SessionId::generate(), Duration::from_mins(15));
        let bearer = format!("Bearer {token}");
        let mut peer = Peer::connect_with(self, &[("Authorization", Some(&bearer))]).await;
        let before = self.taken();
        peer.send(bytes).await;
        until("it is counted", || self.taken() >= before + taken_bytes).await;
        (user, peer)
    }
}

async fn is_answered(peer: &mut Peer) {
    assert_eq!(peer.json().await["code"], "malformed_command");
}

#[tokio::test]
async fn half_of_a_message_takes_memory_until_the_rest_comes() {
    let world = World::of_large_messages(10 * MESSAGE_BYTES).await;
    for in_fragments in [false, true] {
        let [first, second] = halves(MESSAGE_BYTES, in_fragments);
        let (_, mut peer) = world.who_sends(&first, MESSAGE_BYTES / 2).await;
        until("it is the connection's", || world.by_weight()[0].weight() == world.taken()).await;

        peer.send(&second).await;

        is_answered(&mut peer).await;
        until("all is given back", || world.taken() == 0).await;
        peer.is_alive().await;
    }
}

#[tokio::test]
async fn of_those_who_send_half_of_a_message_the_heaviest_are_closed_when_memory_ends() {
    const BUDGET: usize = 5 * MESSAGE_BYTES;
    let world = World::of_large_messages(BUDGET).await;
    let budget = &world.sockets.parts.budget;
    let mut well = Peer::connect(&world).await;
    well.is_alive().await;
    let [light, rest_of_light] = halves(LIGHT_BYTES, false);
    let (_, mut modest) = world.who_sends(&light, LIGHT_BYTES).await;
    let mut greedy = Vec::new();
    while !budget.is_exhausted() {
        let in_fragments = greedy.len() % 2 == 1;
        let [first, _] = halves(MESSAGE_BYTES, in_fragments);
        greedy.push((in_fragments, world.who_sends(&first, MESSAGE_BYTES / 2).await));
    }
    let bearer = format!("Bearer {}", world.token());
    let newcomer = request("GET /ws HTTP/1.1", &[("Authorization", Some(&bearer))]);
    let (_, answer) = Peer::say(&world, &newcomer, b"").await;
    assert_eq!(answer.status, 503, "{answer:?}");

    budget.relieve(&world.sockets.parts.registry);
    until("there is room again", || world.taken() <= BUDGET / 100 * 80).await;
    budget.relieve(&world.sockets.parts.registry);

    assert!(!budget.is_exhausted());
    assert_eq!(Peer::say(&world, &newcomer, b"").await.1.status, 101);
    let inside: Vec<UserId> = world.by_weight().iter().map(|mailbox| mailbox.user).collect();
    let (stayed, closed): (Vec<_>, Vec<_>) =
        greedy.into_iter().partition(|(_, (user, _))| inside.contains(user));
    assert!(!stayed.is_empty() && !closed.is_empty(), "{} and {}", stayed.len(), closed.len());
    for (_, (_, mut peer)) in closed {
        assert_eq!(peer.closed().await.0, 4009);
    }
    for (in_fragments, (_, mut peer)) in stayed {
        peer.send(&halves(MESSAGE_BYTES, in_fragments)[1]).await;
        is_answered(&mut peer).await;
    }
    modest.send(&rest_of_light).await;
    is_answered(&mut modest).await;
    well.is_alive().await;
    until("all is given back", || world.taken() == 0).await;
}

#[tokio::test]
async fn who_leaves_in_the_middle_of_a_message_leaves_nothing_behind() {
    let world = World::of_large_messages(100 * MESSAGE_BYTES).await;
    let mut leaving = Vec::new();
    for number in 0..20 {
        let [first, _] = halves(MESSAGE_BYTES, number % 2 == 1);
        leaving.push(world.who_sends(&first, MESSAGE_BYTES / 2).await);
    }
    assert!(world.taken() >= 20 * MESSAGE_BYTES / 2);

    drop(leaving);

    until("all is given back", || world.taken() == 0 && world.sockets.open() == 0).await;
}

#[tokio::test]
async fn half_of_what_a_stranger_says_is_counted_until_nobody_waits_for_the_rest() {
    let world = World::with(|config| config.auth_timeout_ms = 3_000).await;
    let protocol = [("Sec-WebSocket-Protocol", Some("fanlight.v1"))];
    let auth = json!({"type": "AUTH", "token": "x".repeat(900)}).to_string();
    let mut stranger = Peer::connect_with(&world, &protocol).await;

    stranger.send(&frame(TEXT, auth.as_bytes())[..500]).await;

    until("it is counted", || world.taken() > 0).await;
    assert!(world.by_weight().is_empty());
    assert_eq!(stranger.closed().await.0, 4001);
    until("all is given back", || world.taken() == 0).await;
}
