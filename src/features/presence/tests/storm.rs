//! Everything at once: many devices that come, go and doze on three nodes, messages that are lost, nodes that are killed.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::*;
use crate::domain::standing::Availability;

const USERS: usize = 30;
const ROUNDS: usize = 60;
const STEPS: usize = 25;

/// Numbers that look random, and are the same in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

struct Storm {
    world: World,
    nodes: Vec<Node>,
    users: Vec<UserId>,
    /// Where each is, and whether it is away.
    devices: Vec<(NodeId, Arc<Mailbox>, bool)>,
    dice: Dice,
}

impl Storm {
    fn place(&self, node: NodeId) -> &Node {
        self.nodes.iter().find(|it| it.id == node).unwrap()
    }

    async fn step(&mut self) {
        match self.dice.throw(10) {
            0..=3 => {
                let node = self.dice.throw(self.nodes.len());
                let node = &self.nodes[node];
                let mailbox = node.open(self.users[self.dice.throw(USERS)]).await;
                self.devices.push((node.id, mailbox, false));
            }
            4..=6 if !self.devices.is_empty() => {
                let (node, mailbox, _) = self.devices.swap_remove(self.dice.throw(self.devices.len()));
                self.place(node).close(&mailbox).await;
            }
            7..=9 if !self.devices.is_empty() => {
                let at = self.dice.throw(self.devices.len());
                let is_away = &mut self.devices[at].2;
                *is_away = !*is_away;
                let status = if *is_away { "away" } else { "online" };
                let (node, mailbox, _) = &self.devices[at];
                self.place(*node).say(mailbox, &json!({"type": "PRESENCE", "status": status})).await;
            }
            _ => {}
        }
    }

    /// Another one takes its place; its devices are gone.
    async fn kill(&mut self) {
        let killed = self.nodes.swap_remove(self.dice.throw(self.nodes.len()));
        self.devices.retain(|(node, ..)| *node != killed.id);
        self.world.kill(killed).await;
        self.nodes.push(self.world.node().await);
    }

    /// All nodes at the same time.
    async fn work(&mut self) {
        self.world.loses.store(self.dice.throw(2) == 0, Ordering::SeqCst);
        self.world.pass([1.0, 8.0, 16.0][self.dice.throw(3)]).await;
        join_all(self.nodes.iter().map(async |node| {
            node.sweep().await;
            tokio::join!(async { node.flush().await }, node.look());
            node.tell().await;
        }))
        .await;
    }

    fn expected(&self) -> BTreeMap<UserId, &'static str> {
        let mut all: BTreeMap<UserId, &'static str> =
            self.users.iter().map(|user| (*user, "offline")).collect();
        for (_, mailbox, is_away) in &self.devices {
            let status = all.get_mut(&mailbox.user).unwrap();
            *status = if *is_away && *status != "online" { "away" } else { "online" };
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_storm_each_transition_is_made_once_and_everybody_ends_up_right() {
    let (world, nodes) = World::nodes::<3>().await;
    let users = join_all((0..USERS).map(|_| world.user())).await;
    world.channel(&users).await;
    let mut storm = Storm { world, nodes: nodes.into(), users, devices: Vec::new(), dice: Dice(7) };
    for round in 0..ROUNDS {
        for _ in 0..storm.dice.throw(STEPS) {
            storm.step().await;
        }
        if round % 10 == 9 {
            storm.kill().await;
        }
        storm.work().await;
    }
    // Whoever is still there, watches from now on; and then some leave.
    for (node, mailbox, _) in &storm.devices {
        frames(mailbox);
        storm.place(*node).watch(mailbox, &storm.users).await;
    }
    for _ in 0..40 {
        storm.step().await;
    }
    for _ in 0..6 {
        storm.world.loses.store(true, Ordering::SeqCst);
        storm.world.pass(20.0).await;
        let all: Vec<&Node> = storm.nodes.iter().collect();
        join_all(all.iter().map(|node| node.sweep())).await;
        settle(&all).await;
    }
    for node in &storm.nodes {
        node.shared.watching.compare().await.unwrap();
        node.tell().await;
        node.shared.watching.tell_laggards();
        node.tell().await;
    }

    let expected = storm.expected();
    for (user, status) in &expected {
        let made = storm.world.said_of(*user);
        assert!(made.windows(2).all(|two| two[0] != two[1]), "{made:?}");
        assert_eq!(made.last().map_or("offline", |it| it), *status, "{made:?}");
        let (stands, revision) = storm.world.standing(*user).await;
        assert_eq!(usize::try_from(revision).unwrap(), made.len());
        assert!(stands == *status || (stands == "none" && *status == "offline"));
    }
    assert!(storm.world.said.lock().len() > USERS * 3, "it was a storm");
    for (node, mailbox, _) in &storm.devices {
        let book = storm.place(*node).shared.watching.told_to(mailbox.connection);
        for (user, told) in book {
            assert_eq!(told.map(Availability::as_str), Some(expected[&user]), "{user}");
        }
    }
}
