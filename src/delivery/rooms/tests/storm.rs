//! Everything at once: writers on all nodes, a broker that loses messages, people who come and go, and some who are
//! removed.

use std::future::pending;

use futures_util::future::join_all;

use super::*;
use crate::ports::broker::{BrokerError, TopicMessage, Topics};

const NODES: usize = 3;
const WRITERS: usize = 12;
const MESSAGES_EACH: usize = 60;
const MEMBERS: usize = 20;
const REMOVED: usize = 6;

/// Numbers that look random, and are the same in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// Loses one message in eight.
struct Lossy {
    broker: Arc<MemoryBroker>,
    dice: Mutex<Dice>,
}

#[async_trait]
impl Topics for Lossy {
    async fn subscribe(&self, topics: &[ChannelId]) -> Result<(), BrokerError> {
        self.broker.subscribe(topics).await
    }

    async fn unsubscribe(&self, topics: &[ChannelId]) -> Result<(), BrokerError> {
        self.broker.unsubscribe(topics).await
    }

    async fn publish(&self, batch: &[TopicMessage]) -> Result<(), BrokerError> {
        let kept = batch.iter().filter(|_| self.dice.lock().throw(8) > 0).cloned();
        let kept: Vec<TopicMessage> = kept.collect();
        self.broker.publish(&kept).await
    }
}

/// Somebody who subscribes, reads for a while, and goes to another node. Ends with the last revision, or when refused.
/// Returns the revisions that were heard.
async fn visit(nodes: &[Node], user: UserId, room: ChannelId, (last, seed): (i64, u64)) -> Vec<i64> {
    let (mut dice, mut heard) = (Dice(seed), Vec::new());
    while heard.last() != Some(&last) {
        let node = &nodes[dice.throw(NODES)];
        let (mailbox, enough) = (Arc::new(mailbox(user)), heard.len() + 1 + dice.throw(150));
        let since = Since::Revision(heard.last().copied().unwrap_or(0));
        let is_over = {
            let greeting = |_| Bytes::from_static(b"\x81\x02{}");
            let subscribing = async {
                match node.rooms.subscribe(&mailbox, room, since, &greeting).await {
                    Ok(()) => pending().await,
                    Err(error) => matches!(error, JoinError::NotAMember),
                }
            };
            let reading = async {
                while heard.len() < enough && heard.last() != Some(&last) {
                    let mail = mailbox.collect().await;
                    let frames: Vec<Value> = mail.notices.iter().map(|notice| read(&notice.frame)).collect();
                    heard.extend(revisions(&frames));
                    assert!(frames.iter().all(|frame| frame["type"] != "ROOM_RESYNC"));
                    if mail.farewell.is_some() || frames.iter().any(|frame| frame["type"] == "UNSUBSCRIBED") {
                        break;
                    }
                }
                false
            };
            tokio::select! {
                is_over = subscribing => is_over,
                is_over = reading => is_over,
            }
        };
        node.rooms.forget(&mailbox);
        if is_over {
            break;
        }
    }
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_hears_everything_once_and_in_order_and_the_removed_nothing_later() {
    let world = World::with(|config| {
        config.compare_interval_ms = 1;
        config.gate_changes_max = 40;
        config.replay_page_changes = 20;
    });
    let mut nodes = Vec::new();
    for number in 0..NODES {
        let lossy = |broker| Arc::new(Lossy { broker, dice: Mutex::new(Dice(number as u64)) }) as _;
        nodes.push(world.node_through(lossy).await);
    }
    let members: Vec<UserId> = (0..MEMBERS).map(|_| UserId::generate()).collect();
    let removed: Vec<UserId> = (0..REMOVED).map(|_| UserId::generate()).collect();
    let room = world.room(&[&members[..], &removed[..]].concat());
    let last = i64::try_from(WRITERS * MESSAGES_EACH + REMOVED).unwrap();
    let (nodes, removals) = (&nodes[..], Mutex::new(Vec::new()));

    let writing = (0..WRITERS).map(|writer| {
        let (log, removals, removed) = (&world.log, &removals, &removed);
        async move {
            for number in 0..MESSAGES_EACH {
                nodes[(writer + number) % NODES].rooms.publish(log.send(room));
                if writer < REMOVED && number == 10 * (writer + 1) - 1 {
                    let revision = log.remove(room, removed[writer]);
                    nodes[writer % NODES].rooms.expel(room, removed[writer], revision);
                    removals.lock().push((removed[writer], revision));
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let people = members.iter().chain(&removed).zip(100..);
    let visits = people.map(|(user, seed)| visit(nodes, *user, room, (last, seed)));
    let all = async { tokio::join!(join_all(writing), join_all(visits)).1 };
    let heard = tokio::time::timeout(Duration::from_secs(60), all).await.expect("it ends");

    let removals: HashMap<UserId, i64> = removals.into_inner().into_iter().collect();
    let told: Vec<i64> = (1..=last).filter(|it| !removals.values().any(|removal| removal == it)).collect();
    for (user, heard) in members.iter().zip(&heard) {
        assert_eq!(*heard, told, "{user}");
    }
    for (user, heard) in removed.iter().zip(&heard[MEMBERS..]) {
        assert!(told.starts_with(heard), "{heard:?}");
        assert!(heard.last().is_none_or(|last| *last < removals[user]), "{heard:?} {}", removals[user]);
    }
}
