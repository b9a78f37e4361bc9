//! Between what a client missed and what happens there is neither gap nor repetition.

use super::*;
use crate::ports::broker::{BrokerError, TopicMessage};

#[tokio::test]
async fn a_client_gets_what_it_missed_and_then_what_happens() {
    let world = World::with(|config| config.replay_page_changes = 3);
    let node = world.node().await;
    let user = UserId::generate();
    let room = world.room(&[user]);
    for _ in 0..10 {
        drop(world.log.send(room));
    }
    drop(world.log.edit(room, 2));
    for (since, missed) in [
        (Since::Now, vec![]),
        (Since::Seq(4), (5..=10).collect()),
        (Since::Seq(10), vec![]),
        (Since::Revision(8), vec![9, 10, 11]),
        (Since::Revision(1), (3..=11).collect::<Vec<i64>>()),
    ] {
        let client = world.client(user);
        node.subscribe(&client, room, since).await.unwrap();
        let heard = client.until_type("OK").await;
        assert_eq!(revisions(&heard), missed, "{since:?}");
        let greeting = json!({"type": "OK", "room": room, "seq": 10, "revision": 11});
        assert_eq!(heard.last(), Some(&greeting), "the greeting stands between the two");
        node.rooms.forget(&client.mailbox);
    }
    assert!(node.rooms.is_empty());
}

/// A message is written and told while the client's replay is read.
#[tokio::test]
async fn what_happens_during_the_replay_is_told_once() {
    for since in [Since::Now, Since::Seq(0), Since::Revision(0)] {
        let world = World::new();
        let [here, there] = [world.node().await, world.node().await];
        let user = UserId::generate();
        let room = world.room(&[user]);
        // Somebody is there already, so that the room knows where it is.
        let early = here.joined(&world, user, room).await;
        here.rooms.publish(world.log.send(room));
        early.until_revision(1).await;
        let (log, rooms) = (Arc::clone(&world.log), there.rooms.clone());
        world.log.after_next_read(move || {
            for _ in 0..3 {
                rooms.publish(log.send(room));
            }
        });

        let client = world.client(user);
        here.subscribe(&client, room, since).await.unwrap();
        there.rooms.publish(world.log.send(room));

        let heard = client.until_revision(5).await;
        let first = if since == Since::Now { 2 } else { 1 };
        assert_eq!(heard, (first..=5).collect::<Vec<i64>>(), "{since:?}");
        assert_eq!(early.until_revision(5).await, [1, 2, 3, 4, 5]);
    }
}

#[tokio::test]
async fn who_joins_first_misses_nothing_either() {
    let world = World::new();
    let [here, there] = [world.node().await, world.node().await];
    let user = UserId::generate();
    let room = world.room(&[user]);
    drop(world.log.send(room));
    let (log, rooms) = (Arc::clone(&world.log), there.rooms.clone());
    world.log.after_next_read(move || rooms.publish(log.send(room)));

    let client = world.client(user);
    here.subscribe(&client, room, Since::Seq(0)).await.unwrap();

    assert_eq!(client.until_revision(2).await, [1, 2]);
}

#[tokio::test]
async fn a_gate_that_overflows_lets_the_client_read_once_more() {
    let world = World::with(|config| config.gate_changes_max = 4);
    let node = world.node().await;
    let user = UserId::generate();
    let room = world.room(&[user]);
    let early = node.joined(&world, user, room).await;
    node.rooms.publish(world.log.send(room));
    early.until_revision(1).await;
    let (log, rooms) = (Arc::clone(&world.log), node.rooms.clone());
    world.log.after_next_read(move || {
        for _ in 0..50 {
            rooms.publish(log.send(room));
        }
    });

    // It has to read before the others were told, and to open after that.
    let client = world.client(user);
    let (subscribed, _) =
        tokio::join!(node.subscribe(&client, room, Since::Seq(0)), early.until_revision(51));
    subscribed.unwrap();

    assert_eq!(client.until_revision(51).await, (1..=51).collect::<Vec<i64>>());
}

#[tokio::test]
async fn who_missed_too_much_or_saw_what_is_no_more_reads_the_state() {
    let world = World::with(|config| config.replay_changes_max = 5);
    let node = world.node().await;
    let user = UserId::generate();
    let room = world.room(&[user]);
    for _ in 0..6 {
        drop(world.log.send(room));
    }
    for (since, reason) in [
        (Since::Seq(0), "too_far_behind"),
        (Since::Revision(0), "too_far_behind"),
        (Since::Seq(7), "ahead_of_server"),
        (Since::Revision(i64::MAX), "ahead_of_server"),
    ] {
        let client = world.client(user);
        node.subscribe(&client, room, since).await.unwrap();
        let heard = client.until_type("OK").await;
        assert_eq!((&heard[0]["type"], &heard[0]["reason"]), (&json!("ROOM_RESYNC"), &json!(reason)));
        assert_eq!((&heard[0]["fromSeq"], heard.len()), (&json!(6), 2));
    }
}

#[tokio::test]
async fn a_client_that_subscribes_once_more_begins_anew() {
    let world = World::new();
    let node = world.node().await;
    let user = UserId::generate();
    let room = world.room(&[user]);
    let client = node.joined(&world, user, room).await;
    node.rooms.publish(world.log.send(room));
    client.until_revision(1).await;

    node.subscribe(&client, room, Since::Seq(0)).await.unwrap();
    node.rooms.publish(world.log.send(room));

    assert_eq!(client.until_revision(2).await, [1, 1, 2]);
}

#[tokio::test]
async fn a_connection_subscribes_to_a_bounded_number_of_rooms() {
    let world = World::with(|config| config.subscriptions_per_connection_max = 2);
    let node = world.node().await;
    let user = UserId::generate();
    let [one, other, third] = [(); 3].map(|()| world.room(&[user]));
    let client = world.client(user);
    for room in [one, other, one] {
        node.subscribe(&client, room, Since::Now).await.unwrap();
    }
    let refused = node.subscribe(&client, third, Since::Now).await;
    assert!(matches!(refused, Err(JoinError::TooManySubscriptions)), "{refused:?}");

    assert!(node.rooms.leave(&client.mailbox, one));
    assert!(!node.rooms.leave(&client.mailbox, one));
    node.subscribe(&client, third, Since::Now).await.unwrap();
    assert_eq!(node.rooms.len(), 2);
}

#[tokio::test]
async fn a_room_that_cannot_be_joined_leaves_nothing_behind() {
    let world = World::new();
    let node = world.node().await;
    let [member, stranger] = [(); 2].map(|()| UserId::generate());
    let room = world.room(&[member]);
    let client = world.client(stranger);
    let refused = node.subscribe(&client, room, Since::Now).await;
    assert!(matches!(refused, Err(JoinError::NotAMember)), "{refused:?}");
    let refused = node.subscribe(&client, ChannelId::generate(), Since::Seq(0)).await;
    assert!(matches!(refused, Err(JoinError::Room(RoomError::NoSuchRoom))), "{refused:?}");
    world.log.failing.store(1, Ordering::Relaxed);
    let refused = node.subscribe(&world.client(member), room, Since::Seq(0)).await;
    assert!(matches!(refused, Err(JoinError::Room(RoomError::Unavailable(_)))), "{refused:?}");
    assert!(node.rooms.is_empty());
}

#[tokio::test]
async fn a_long_replay_waits_for_the_client() {
    let world = World::with(|config| config.replay_changes_max = 2_000);
    let node = world.node().await;
    let user = UserId::generate();
    let room = world.room(&[user]);
    for _ in 0..1_500 {
        drop(world.log.send(room));
    }
    // More than its queue takes.
    let client = world.client(user);
    node.subscribe(&client, room, Since::Seq(0)).await.unwrap();
    assert_eq!(client.until_revision(1_500).await, (1..=1_500).collect::<Vec<i64>>());
    assert!(client.until_type("OK").await.iter().all(|frame| frame["type"] != "ROOM_RESYNC"));
}

#[tokio::test]
async fn a_connection_that_ends_during_its_replay_is_given_up() {
    let world = World::new();
    let node = world.node().await;
    let user = UserId::generate();
    let room = world.room(&[user]);
    for _ in 0..500 {
        drop(world.log.send(room));
    }
    let asleep = Arc::new(mailbox(user));
    let subscribing = node.rooms.subscribe(&asleep, room, Since::Seq(0), &|_| Bytes::from_static(b"OK"));
    let ending = async { while !asleep.close(Farewell::Leaving) {} };
    let (subscribed, ()) = tokio::join!(subscribing, ending);
    subscribed.unwrap_err();
    assert!(node.rooms.is_empty());
}

/// Unsubscribes, and the first time does not hear that it has.
struct LateFailure {
    broker: Arc<MemoryBroker>,
    failed: watch::Sender<bool>,
}

#[async_trait]
impl Topics for LateFailure {
    async fn subscribe(&self, topics: &[ChannelId]) -> Result<(), BrokerError> {
        self.broker.subscribe(topics).await
    }

    async fn unsubscribe(&self, topics: &[ChannelId]) -> Result<(), BrokerError> {
        self.broker.unsubscribe(topics).await?;
        if self.failed.send_replace(true) {
            return Ok(());
        }
        Err(BrokerError::Unavailable("no answer".to_owned()))
    }

    async fn publish(&self, batch: &[TopicMessage]) -> Result<(), BrokerError> {
        self.broker.publish(batch).await
    }
}

#[tokio::test]
async fn who_joins_after_an_unsubscription_that_failed_late_hears_the_room() {
    let world = World::new();
    let failed = watch::Sender::new(false);
    let late = |broker| Arc::new(LateFailure { broker, failed: failed.clone() }) as _;
    let [here, there] = [world.node_through(late).await, world.node().await];
    let user = UserId::generate();
    let room = world.room(&[user]);
    let first = here.joined(&world, user, room).await;
    assert!(here.rooms.leave(&first.mailbox, room));
    failed.subscribe().wait_for(|failed| *failed).await.unwrap();

    let second = here.joined(&world, user, room).await;
    there.rooms.publish(world.log.send(room));

    assert_eq!(second.until_revision(1).await, [1]);
}
