//! Reactions: one per person, message and emoji, told when they come and go.

use http::StatusCode;
use serde_json::{Value, json};

use super::{channel_of, couple, id, kinds, path, say};
use crate::domain::clock::Clock as _;
use crate::domain::ids::UserId;
use crate::features::fixture::{Answer, World};

const THUMB: &str = "%F0%9F%91%8D";

async fn put(world: &World, user: UserId, message: &Value, emoji: &str) -> Answer {
    world.send_text(user, "PUT", &format!("{}/reactions/{emoji}", path(message)), "").await
}

async fn delete(world: &World, user: UserId, message: &Value, emoji: &str) -> Answer {
    world.delete(user, &format!("{}/reactions/{emoji}", path(message))).await
}

#[tokio::test]
async fn a_reaction_is_shown_once_and_told_once() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let message = say(&world, ann, channel, "Lunch?").await;
    world.heard.take();

    for _ in 0..2 {
        assert_eq!(put(&world, ben, &message, THUMB).await.status, StatusCode::NO_CONTENT);
    }
    put(&world, ann, &message, THUMB).await;
    put(&world, ann, &message, "+1").await;

    let reactions = async || world.get(ben, &path(&message)).await.body["reactions"].clone();
    let shown = reactions().await;
    let mut of_thumb = shown.as_array().unwrap().iter().filter(|reaction| reaction["emoji"] == "👍");
    assert_eq!(of_thumb.next().unwrap()["userIds"].as_array().unwrap().len(), 2);
    assert_eq!(shown.as_array().unwrap().len(), 2, "{shown}");
    let told = json!({
        "type": "REACTION_ADDED", "messageId": id(&message), "channelId": channel, "userId": ben, "emoji": "👍",
        "timestamp": world.clock.now().timestamp_millis(), "revision": 2,
    });
    let heard = world.heard.take();
    assert_eq!((&heard[0], heard.len()), (&told, 3));

    for _ in 0..2 {
        assert_eq!(delete(&world, ann, &message, THUMB).await.status, StatusCode::NO_CONTENT);
    }
    delete(&world, ann, &message, "+1").await;
    assert_eq!(reactions().await, json!([{"emoji": "👍", "userIds": [ben]}]));
    assert_eq!(kinds(&world.heard.take()), ["REACTION_REMOVED"; 2]);
}

#[tokio::test]
async fn only_emoji_are_reactions() {
    let world = World::new().await;
    let (ann, _, channel) = couple(&world).await;
    let message = say(&world, ann, channel, "Lunch?").await;
    for other in ["Hello", "a%20b", "%3Cb%3E", "%00", "%E2%80%8D"] {
        let answer = put(&world, ann, &message, other).await;
        assert_eq!((answer.status, answer.error()), (StatusCode::BAD_REQUEST, "bad_parameter"), "{other}");
    }
    let emoji = "%F0%9F%91%A9%F0%9F%8F%BD%E2%80%8D%F0%9F%92%BB";
    assert_eq!(put(&world, ann, &message, emoji).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_message_takes_so_many_reactions() {
    let world = World::with(|config| config.messages.reactions_max = 3).await;
    let (ann, ben, channel) = couple(&world).await;
    let message = say(&world, ann, channel, "Lunch?").await;
    for emoji in ["a", "b", "c"] {
        put(&world, ann, &message, emoji).await;
    }

    let refused = put(&world, ben, &message, "a").await;

    assert_eq!((refused.status, refused.error()), (StatusCode::CONFLICT, "too_many_reactions"));
    assert_eq!(put(&world, ann, &message, "a").await.status, StatusCode::NO_CONTENT, "it is there already");
    delete(&world, ann, &message, "b").await;
    assert_eq!(put(&world, ben, &message, "a").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_react_at_once_are_all_counted() {
    const PEOPLE: usize = 15;
    let world = World::with(|config| config.messages.reactions_max = 10).await;
    let people = futures_util::future::join_all((0..PEOPLE).map(|_| world.user(None))).await;
    let channel = channel_of(&world, &people).await;
    let message = say(&world, people[0], channel, "Lunch?").await;

    let reacting = people.iter().map(|user| put(&world, *user, &message, THUMB));
    let answers = futures_util::future::join_all(reacting).await;

    let taken = answers.iter().filter(|answer| answer.status == StatusCode::NO_CONTENT).count();
    assert_eq!(taken, 10);
    let shown = world.get(people[0], &path(&message)).await.body;
    assert_eq!(shown["reactions"][0]["userIds"].as_array().unwrap().len(), 10);
}
