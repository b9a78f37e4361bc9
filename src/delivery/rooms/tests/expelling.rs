//! Who was removed hears nothing that was committed later, whatever is lost or late.

use super::*;

#[tokio::test]
async fn a_removal_ends_delivery_on_all_nodes() {
    let world = World::new();
    let [here, there] = [world.node().await, world.node().await];
    let [removed, stays] = [(); 2].map(|()| UserId::generate());
    let room = world.room(&[removed, stays]);
    let gone = [here.joined(&world, removed, room).await, there.joined(&world, removed, room).await];
    let other = there.joined(&world, stays, room).await;
    here.rooms.publish(world.log.send(room));

    here.rooms.expel(room, removed, world.log.remove(room, removed));
    here.rooms.publish(world.log.send(room));

    assert_eq!(other.until_revision(3).await, [1, 3]);
    for client in &gone {
        let heard = client.until_type("UNSUBSCRIBED").await;
        let notice = json!({"type": "UNSUBSCRIBED", "channelId": room, "reason": "removed"});
        assert_eq!(heard.last(), Some(&notice));
    }
    assert!(gone.iter().all(|client| !revisions(&client.heard()).contains(&3)));
    assert!(!here.rooms.leave(&gone[0].mailbox, room), "the connection is free for another room");
}

/// The message comes, the news of the removal does not.
#[tokio::test]
async fn a_removal_that_nobody_heard_of_is_noticed_before_anything_later_is_told() {
    let world = World::new();
    let [here, there] = [world.node().await, world.node().await];
    let [removed, stays] = [(); 2].map(|()| UserId::generate());
    let room = world.room(&[removed, stays]);
    let gone = there.joined(&world, removed, room).await;
    let other = there.joined(&world, stays, room).await;

    world.log.remove(room, removed);
    here.rooms.publish(world.log.send(room));

    assert_eq!(other.until_revision(2).await, [2]);
    gone.until_type("UNSUBSCRIBED").await;
    assert!(revisions(&gone.heard()).is_empty());
}

#[tokio::test]
async fn a_message_that_overtakes_the_removal_waits_for_it() {
    let world = World::with(|config| config.gap_grace_ms = 900);
    let [here, there] = [world.node().await, world.node().await];
    let [removed, stays] = [(); 2].map(|()| UserId::generate());
    let room = world.room(&[removed, stays]);
    let gone = there.joined(&world, removed, room).await;
    let other = there.joined(&world, stays, room).await;

    let revision = world.log.remove(room, removed);
    here.rooms.publish(world.log.send(room));
    here.rooms.expel(room, removed, revision);

    assert_eq!(other.until_revision(2).await, [2]);
    gone.until_type("UNSUBSCRIBED").await;
    assert!(revisions(&gone.heard()).is_empty());
}

#[tokio::test]
async fn who_is_removed_while_he_joins_hears_nothing() {
    let world = World::new();
    let [here, there] = [world.node().await, world.node().await];
    let user = UserId::generate();
    let room = world.room(&[user]);
    let (log, rooms) = (Arc::clone(&world.log), there.rooms.clone());
    world.log.after_next_read(move || {
        rooms.expel(room, user, log.remove(room, user));
        rooms.publish(log.send(room));
    });
    let client = world.client(user);
    let refused = here.subscribe(&client, room, Since::Seq(0)).await;
    assert!(matches!(refused, Err(JoinError::NotAMember)), "{refused:?}");
    assert!(here.rooms.is_empty());
    assert!(revisions(&client.heard()).is_empty());
}

/// What was said in between is none of his business, although he is a member when that is asked.
#[tokio::test]
async fn who_is_removed_and_comes_back_while_he_joins_has_to_begin_again() {
    let world = World::new();
    let node = world.node().await;
    let user = UserId::generate();
    let room = world.room(&[user]);
    let (log, rooms) = (Arc::clone(&world.log), node.rooms.clone());
    world.log.after_next_read(move || {
        rooms.expel(room, user, log.remove(room, user));
        rooms.publish(log.send(room));
        log.add(room, user);
    });
    let client = world.client(user);
    let refused = node.subscribe(&client, room, Since::Now).await;
    assert!(matches!(refused, Err(JoinError::NotAMember)), "{refused:?}");

    node.subscribe(&client, room, Since::Now).await.unwrap();
    node.rooms.publish(world.log.send(room));
    assert_eq!(client.until_revision(3).await, [3]);
}

#[tokio::test]
async fn who_came_back_stays_although_the_old_removal_comes_late() {
    let world = World::new();
    let node = world.node().await;
    let user = UserId::generate();
    let room = world.room(&[user]);
    let revision = world.log.remove(room, user);
    world.log.add(room, user);
    let client = node.joined(&world, user, room).await;

    node.rooms.expel(room, user, revision);
    node.rooms.publish(world.log.send(room));

    assert_eq!(client.until_revision(2).await, [2]);
}

#[tokio::test]
async fn a_room_that_was_deleted_ends_for_everybody() {
    let world = World::new();
    let [here, there] = [world.node().await, world.node().await];
    let users = [(); 2].map(|()| UserId::generate());
    let (told, found) = (world.room(&users), world.room(&users));
    let clients = [here.joined(&world, users[0], told).await, there.joined(&world, users[1], told).await];
    let late = there.joined(&world, users[1], found).await;
    world.log.delete(told);
    world.log.delete(found);

    here.rooms.close(told, "CHANNEL_DELETED", &frame(&json!({"type": "CHANNEL_DELETED"})));
    there.doubt(found);

    for client in clients.iter().chain([&late]) {
        assert_eq!(client.until_type("UNSUBSCRIBED").await.last().unwrap()["reason"], "gone");
    }
    assert!(here.rooms.is_empty() && there.rooms.is_empty());
}
