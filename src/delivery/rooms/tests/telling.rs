//! What happens in a room reaches everybody in it, once and in order, whatever is lost.

use super::*;

#[tokio::test]
async fn a_change_reaches_the_subscribers_of_all_nodes_once_and_in_order() {
    let world = World::new();
    let nodes = [world.node().await, world.node().await, world.node().await];
    let users = [(); 6].map(|()| UserId::generate());
    let room = world.room(&users);
    let mut clients = Vec::new();
    for (number, user) in users.into_iter().enumerate() {
        clients.push(nodes[number % 3].joined(&world, user, room).await);
    }
    let outsider = nodes[0].joined(&world, users[0], world.room(&users)).await;

    // Writers on three nodes overtake each other.
    let mut frames: Vec<RoomFrame> = (0..90).map(|_| world.log.send(room)).collect();
    frames.chunks_mut(3).for_each(<[RoomFrame]>::reverse);
    for (number, frame) in frames.into_iter().enumerate() {
        nodes[number % 3].rooms.publish(frame);
    }

    for client in &clients {
        assert_eq!(client.until_revision(90).await, (1..=90).collect::<Vec<i64>>());
    }
    assert!(revisions(&outsider.heard()).is_empty());
}

#[tokio::test]
async fn a_jump_is_read_from_the_log() {
    let world = World::new();
    let [here, there] = [world.node().await, world.node().await];
    let [ada, ben] = [(); 2].map(|()| UserId::generate());
    let room = world.room(&[ada, ben]);
    let [near, far] = [here.joined(&world, ada, room).await, there.joined(&world, ben, room).await];

    here.rooms.publish(world.log.send(room));
    for _ in 0..3 {
        drop(world.log.send(room));
    }
    here.rooms.publish(world.log.send(room));

    for client in [near, far] {
        assert_eq!(client.until_revision(5).await, [1, 2, 3, 4, 5]);
    }
}

#[tokio::test]
async fn of_what_changed_twice_the_last_is_told() {
    let world = World::new();
    let node = world.node().await;
    let user = UserId::generate();
    let room = world.room(&[user]);
    let client = node.joined(&world, user, room).await;

    for _ in 0..2 {
        drop(world.log.send(room));
    }
    drop(world.log.edit(room, 1));
    node.rooms.publish(world.log.send(room));

    assert_eq!(client.until_revision(4).await, [2, 3, 4]);
    node.rooms.publish(world.log.send(room));
    assert_eq!(client.until_revision(5).await, [2, 3, 4, 5]);
}

#[tokio::test]
async fn the_loss_of_the_last_change_is_found() {
    let world = World::new();
    let node = world.node().await;
    let user = UserId::generate();
    let room = world.room(&[user]);
    let client = node.joined(&world, user, room).await;
    drop(world.log.send(room));

    node.doubt(room);

    assert_eq!(client.until_revision(1).await, [1]);
}

#[tokio::test]
async fn a_node_that_comes_back_to_the_broker_reads_what_it_missed_and_hears_again() {
    let world = World::new();
    let [here, there] = [world.node().await, world.node().await];
    let user = UserId::generate();
    let room = world.room(&[user]);
    let client = there.joined(&world, user, room).await;
    here.rooms.publish(world.log.send(room));
    client.until_revision(1).await;

    there.stop_listening().await;
    here.rooms.publish(world.log.send(room));
    there.listen().await;

    assert_eq!(client.until_revision(2).await, [1, 2]);
    here.rooms.publish(world.log.send(room));
    assert_eq!(client.until_revision(3).await, [1, 2, 3]);
}

#[tokio::test]
async fn what_was_not_published_is_announced_later() {
    let world = World::with(|config| config.publish_queue_frames = 1);
    let [here, there] = [world.node().await, world.node().await];
    let user = UserId::generate();
    let room = world.room(&[user]);
    let client = there.joined(&world, user, room).await;

    // On one thread: nobody empties the queue meanwhile.
    for _ in 0..10 {
        here.rooms.publish(world.log.send(room));
    }

    assert_eq!(client.until_revision(10).await, (1..=10).collect::<Vec<i64>>());
}

#[tokio::test]
async fn what_could_not_be_read_is_read_later() {
    let world = World::new();
    let node = world.node().await;
    let user = UserId::generate();
    let room = world.room(&[user]);
    let client = node.joined(&world, user, room).await;
    drop(world.log.send(room));
    world.log.failing.store(1, Ordering::Relaxed);
    node.rooms.publish(world.log.send(room));

    assert_eq!(client.until_revision(2).await, [1, 2]);
    assert_eq!(world.log.failing.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_node_that_is_far_behind_lets_everybody_read_the_state() {
    let world = World::with(|config| config.replay_changes_max = 10);
    let node = world.node().await;
    let [ada, ben] = [(); 2].map(|()| UserId::generate());
    let room = world.room(&[ada, ben]);
    let clients = [node.joined(&world, ada, room).await, node.joined(&world, ben, room).await];
    for _ in 0..20 {
        drop(world.log.send(room));
    }
    node.doubt(room);

    for client in &clients {
        let heard = client.until_type("ROOM_RESYNC").await;
        let expected = json!({
            "type": "ROOM_RESYNC", "channelId": room, "reason": "too_far_behind", "fromSeq": 20, "revision": 20
        });
        assert_eq!(heard[1..], [expected]);
    }
    node.rooms.publish(world.log.send(room));
    assert_eq!(clients[0].until_revision(21).await, [21]);
}

#[tokio::test]
async fn a_database_that_lost_changes_is_told_of() {
    let world = World::new();
    let node = world.node().await;
    let [user, lost] = [(); 2].map(|()| UserId::generate());
    let room = world.room(&[user, lost]);
    let client = node.joined(&world, user, room).await;
    let stranger = node.joined(&world, lost, room).await;
    for _ in 0..3 {
        node.rooms.publish(world.log.send(room));
    }
    client.until_revision(3).await;

    // That one came in is lost, too.
    world.log.lose(room, Head { seq: 1, revision: 1 });
    world.log.forget(room, lost);
    node.doubt(room);
    client.until_type("ROOM_RESYNC").await;
    assert_eq!(stranger.until_type("UNSUBSCRIBED").await.last().unwrap()["reason"], "removed");
    node.rooms.publish(world.log.send(room));

    client.until_heard(|heard| revisions(heard) == [1, 2, 3, 2]).await;
}

#[tokio::test]
async fn another_past_begins_anew_for_everybody() {
    let world = World::new();
    let node = world.node().await;
    let [user, lost] = [(); 2].map(|()| UserId::generate());
    let room = world.room(&[user, lost]);
    let client = node.joined(&world, user, room).await;
    let stranger = node.joined(&world, lost, room).await;
    node.rooms.publish(world.log.send(room));
    client.until_revision(1).await;
    world.log.forget(room, lost);
    // The new past is as long as the old one.
    node.rooms.begin_anew();
    world.log.failing.store(1, Ordering::Relaxed);

    let heard = client.until_type("ROOM_RESYNC").await;
    assert_eq!(heard.last().unwrap()["reason"], "another_past");
    stranger.until_type("UNSUBSCRIBED").await;
    node.rooms.publish(world.log.send(room));
    assert_eq!(client.until_revision(2).await, [1, 2]);
}

#[tokio::test]
async fn who_does_not_read_is_closed_and_nobody_else_waits() {
    let world = World::new();
    let node = world.node().await;
    let [slow, quick] = [(); 2].map(|()| UserId::generate());
    let room = world.room(&[slow, quick]);
    let asleep = Arc::new(mailbox(slow));
    node.rooms.subscribe(&asleep, room, Since::Now, &|_| Bytes::from_static(b"OK")).await.unwrap();
    let client = node.joined(&world, quick, room).await;

    for revision in 1..=300 {
        node.rooms.publish(world.log.send(room));
        client.until_revision(revision).await;
    }

    assert_eq!(asleep.collect().await.farewell, Some(Farewell::SlowConsumer));
}

#[tokio::test]
async fn what_passes_is_not_told_to_oneself_and_dropped_first() {
    let world = World::new();
    let [here, there] = [world.node().await, world.node().await];
    let [typist, other] = [(); 2].map(|()| UserId::generate());
    let room = world.room(&[typist, other]);
    let own = here.joined(&world, typist, room).await;
    let [near, far] = [here.joined(&world, other, room).await, there.joined(&world, other, room).await];
    let asleep = Arc::new(mailbox(other));
    here.rooms.subscribe(&asleep, room, Since::Now, &|_| Bytes::from_static(b"OK")).await.unwrap();
    for _ in 0..BOUNDS.frames_max / 2 {
        here.rooms.publish(world.log.send(room));
    }
    let last = i64::try_from(BOUNDS.frames_max / 2).unwrap();
    for client in [&own, &near, &far] {
        client.until_revision(last).await;
    }

    here.rooms.publish_passing(room, Some(typist), "TYPING", frame(&json!({"type": "TYPING"})));
    here.rooms.publish(world.log.send(room));

    for client in [&near, &far] {
        client.until_type("TYPING").await;
        client.until_revision(last + 1).await;
    }
    own.until_revision(last + 1).await;
    assert!(own.heard().iter().all(|frame| frame["type"] != "TYPING"));
    let kept = asleep.collect().await.notices;
    assert!(kept.iter().all(|notice| !notice.frame.ends_with(br#"{"type":"TYPING"}"#)));
}

#[tokio::test]
async fn who_could_not_be_told_for_lack_of_memory_is_told_later() {
    let world = World::new();
    let node = world.node().await;
    let user = UserId::generate();
    let room = world.room(&[user]);
    let budget = Budget::new(10_000);
    let poor = Arc::new(mailbox(user).within(Share::of(&budget)));
    node.rooms.subscribe(&poor, room, Since::Now, &|_| Bytes::from_static(b"OK")).await.unwrap();
    assert_eq!(poor.collect().await.notices.len(), 1);

    let everything = Share::of(&budget);
    assert!(everything.try_take(10_000));
    for _ in 0..3 {
        node.rooms.publish(world.log.send(room));
    }
    while node.rooms.0.lagging.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    everything.give_back(10_000);
    node.rooms.publish(world.log.send(room));

    let mut heard = Vec::new();
    while revisions(&heard).last() != Some(&4) {
        let mail = tokio::time::timeout(PATIENCE, poor.collect()).await.unwrap();
        heard.extend(mail.notices.iter().map(|notice| read(&notice.frame)));
    }
    assert_eq!(revisions(&heard), [1, 2, 3, 4]);
}

/// On one thread: whoever does not yield keeps everybody waiting.
#[tokio::test]
async fn a_large_room_lets_others_have_their_turn() {
    const SUBSCRIBERS: usize = 10_000;
    let world = World::new();
    let node = world.node().await;
    let user = UserId::generate();
    let room = world.room(&[user]);
    let mut mailboxes = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let mailbox = Arc::new(mailbox(user));
        node.rooms.subscribe(&mailbox, room, Since::Now, &|_| Bytes::from_static(b"OK")).await.unwrap();
        mailboxes.push(mailbox);
    }
    let last = Arc::clone(&mailboxes[SUBSCRIBERS - 1]);
    last.collect().await;
    let turns = Arc::new(AtomicUsize::new(0));
    let (counted, stop) = (Arc::clone(&turns), world.shutdown.clone());
    world.shutdown.spawn_light(async move {
        while !stop.is_stopping() {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });

    let begun = turns.load(Ordering::Relaxed);
    node.rooms.publish(world.log.send(room));
    last.collect().await;

    assert!(turns.load(Ordering::Relaxed) - begun > SUBSCRIBERS / 1_000);
    for mailbox in &mailboxes[..SUBSCRIBERS - 1] {
        assert_eq!(mailbox.collect().await.notices.len(), 2);
    }
}

#[tokio::test]
async fn what_passes_leaves_half_of_the_queue_to_what_must_not_be_lost() {
    let world = World::with(|config| config.publish_queue_frames = 8);
    let user = UserId::generate();
    let room = world.room(&[user]);
    let (here, there) = (world.node().await, world.node().await);
    let client = there.joined(&world, user, room).await;

    // All at once: nothing is published in between.
    for number in 0..20 {
        let typing = frame(&json!({"type": "TYPING", "number": number}));
        here.rooms.publish_passing(room, None, "TYPING", typing);
    }
    for _ in 0..4 {
        here.rooms.publish(world.log.send(room));
    }

    assert_eq!(client.until_revision(4).await, [1, 2, 3, 4]);
    here.rooms.publish_passing(room, None, "TYPING", frame(&json!({"type": "FENCE"})));
    let heard = client.until_type("FENCE").await;
    let numbers: Vec<_> = heard.iter().filter_map(|frame| frame["number"].as_i64()).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
}
