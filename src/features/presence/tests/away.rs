//! What devices say of themselves, and what it makes of their user.

use super::*;
use crate::domain::ids::ChannelId;
use crate::features::presence::Device;

const AWAY: &str = "away";

async fn says(node: &Node, mailbox: &Arc<Mailbox>, status: &str) {
    assert_eq!(node.say(mailbox, &json!({"type": "PRESENCE", "status": status})).await, None);
}

#[tokio::test]
async fn a_user_is_away_while_all_devices_are() {
    let (world, [one, other]) = World::nodes().await;
    let user = world.user().await;
    let (phone, laptop) = (one.open(user).await, other.open(user).await);
    settle(&[&one, &other]).await;
    says(&one, &phone, AWAY).await;
    settle(&[&one, &other]).await;
    assert_eq!(world.said_of(user), ["online"]);
    says(&other, &laptop, AWAY).await;
    settle(&[&one, &other]).await;
    assert_eq!(world.said_of(user), ["online", "away"]);
    says(&one, &phone, "online").await;
    settle(&[&one, &other]).await;
    says(&one, &phone, AWAY).await;
    settle(&[&one, &other]).await;
    let _tablet = other.open(user).await;
    settle(&[&one, &other]).await;
    assert_eq!(world.said_of(user), ["online", "away", "online", "away", "online"]);
}

#[tokio::test]
async fn two_devices_that_go_away_at_once_leave_their_user_away() {
    for _ in 0..10 {
        let (world, [one, other]) = World::nodes().await;
        let user = world.user().await;
        let (phone, laptop) = (one.open(user).await, other.open(user).await);
        settle(&[&one, &other]).await;
        says(&one, &phone, AWAY).await;
        says(&other, &laptop, AWAY).await;
        tokio::join!(one.flush(), other.flush());
        settle(&[&one, &other]).await;
        assert_eq!(world.standing(user).await.0, AWAY);
        // One comes back while the other says the same once more.
        says(&one, &phone, "online").await;
        says(&other, &laptop, "online").await;
        says(&other, &laptop, AWAY).await;
        tokio::join!(one.flush(), other.flush());
        settle(&[&one, &other]).await;
        assert_eq!(world.standing(user).await.0, "online");
    }
}

#[tokio::test]
async fn who_closes_the_device_that_somebody_looked_at_is_away_after_the_grace() {
    // The node to which the user came first, answers.
    for (same_node, laptop_first) in [(true, true), (false, true), (false, false)] {
        let (world, [one, other]) = World::nodes().await;
        let user = world.user().await;
        let phone_at = if same_node { &one } else { &other };
        let (first, second) = if laptop_first { (&one, phone_at) } else { (phone_at, &one) };
        let earlier = first.open(user).await;
        settle(&[&one, &other]).await;
        let later = second.open(user).await;
        settle(&[&one, &other]).await;
        let (laptop, phone) = if laptop_first { (earlier, later) } else { (later, earlier) };
        says(phone_at, &phone, AWAY).await;
        settle(&[&one, &other]).await;
        one.close(&laptop).await;
        settle(&[&one, &other]).await;
        assert_eq!(world.said_of(user), ["online"], "it may come back");
        world.pass(15.0).await;
        settle(&[&one, &other]).await;
        assert_eq!(world.said_of(user), ["online", "away"]);
        phone_at.close(&phone).await;
        settle(&[&one, &other]).await;
        world.pass(15.0).await;
        settle(&[&one, &other]).await;
        assert_eq!(world.said_of(user), ["online", "away", "offline"]);
    }
}

#[tokio::test]
async fn what_was_said_while_redis_was_away_is_said_later() {
    let (world, [node]) = World::nodes().await;
    let user = world.user().await;
    let phone = node.open(user).await;
    settle(&[&node]).await;
    world.set_mood(Mood::Away);
    says(&node, &phone, AWAY).await;
    assert!(!node.flush().await);
    assert_eq!(world.said_of(user), ["online"]);
    world.set_mood(Mood::Well);
    settle(&[&node]).await;
    assert_eq!(world.said_of(user), ["online", "away"]);
}

#[tokio::test]
async fn what_many_devices_say_is_written_in_batches_and_once() {
    let (world, [node]) = World::nodes().await;
    let user = world.user().await;
    for _ in 0..1_200 {
        says(&node, &node.open(user).await, AWAY).await;
    }
    world.set_mood(Mood::Tired(1));
    assert!(!node.flush().await);
    assert_eq!(*world.marks.batches.lock(), [500]);
    world.set_mood(Mood::Well);
    assert!(node.flush().await);
    assert_eq!(*world.marks.batches.lock(), [500, 500, 200]);

    let turnover = node.shared.parts.registry.turnover();
    turnover.note_everyone();
    assert!(node.flush().await);
    assert_eq!(world.marks.batches.lock().len(), 3, "Redis has forgotten nothing");
    turnover.note_forgotten();
    assert!(node.flush().await);
    assert_eq!(world.marks.batches.lock().iter().sum::<usize>(), 2_400);
}

#[tokio::test]
async fn any_node_knows_what_devices_show() {
    let (world, [one, other]) = World::nodes().await;
    let [ann, ben] = world.two().await;
    let channel = ChannelId::generate();
    let (phone, laptop) = (one.open(ann).await, other.open(ann).await);
    let view = json!({"type": "VIEW", "channelId": channel, "ref": 1});
    assert_eq!(one.say(&phone, &view).await, Some(json!({"type": "OK", "ref": 1})));
    says(&other, &laptop, AWAY).await;
    settle(&[&one, &other]).await;

    let shows = async |node: &Node| {
        let mut devices = node.commands.service.devices_of(&[ann, ben]).await.unwrap();
        assert_eq!(devices.pop(), Some((ben, Vec::new())));
        devices[0].1.sort_by_key(|device| device.is_away);
        devices.remove(0).1
    };
    let laptop_says = Device { is_away: true, viewing: None };
    for node in [&one, &other] {
        let phone_says = Device { is_away: false, viewing: Some(channel) };
        assert_eq!(shows(node).await, [phone_says, laptop_says]);
    }

    // Redis lost its memory.
    let nothing = [(phone.entry(one.id), Mark::default()), (laptop.entry(other.id), Mark::default())];
    world.marks.set(&nothing).await.unwrap();
    assert!(shows(&one).await.iter().all(|device| *device == Device { is_away: false, viewing: None }));
    for node in [&one, &other] {
        node.shared.parts.registry.turnover().note_forgotten();
        node.flush().await;
    }
    assert_eq!(shows(&one).await[1], laptop_says);

    assert_eq!(one.say(&phone, &json!({"type": "VIEW", "channelId": null})).await, None);
    other.close(&laptop).await;
    settle(&[&one, &other]).await;
    assert_eq!(shows(&other).await, [Device { is_away: false, viewing: None }]);
}

#[tokio::test]
async fn what_no_device_can_say_is_refused() {
    let (world, [node]) = World::nodes().await;
    let mailbox = node.open(world.user().await).await;
    for command in [
        json!({"type": "PRESENCE"}),
        json!({"type": "PRESENCE", "status": "offline"}),
        json!({"type": "VIEW", "channelId": "here"}),
        json!({"type": "WATCH"}),
        json!({"type": "WATCH", "userIds": ["me"]}),
        json!({"type": "WATCH", "userIds": mailbox.user}),
    ] {
        let answer = node.say(&mailbox, &command).await.unwrap();
        assert_eq!(answer["code"], "invalid_command", "{command}");
    }
}
