//! How far one has read: only forwards, told to the others and to one's own devices; what is unread is exact.

use http::StatusCode;
use serde_json::{Value, json};

use super::{channel_of, couple, id, path, say};
use crate::domain::clock::Clock as _;
use crate::domain::ids::{ChannelId, MessageId, UserId};
use crate::features::fixture::{Answer, World};

async fn read(world: &World, user: UserId, channel: ChannelId, message: &Value) -> Answer {
    let body = json!({"messageId": id(message)});
    world.send_json(user, "POST", &format!("/channels/{channel}/read"), &body).await
}

async fn marker(world: &World, user: UserId, channel: ChannelId) -> Value {
    world.get(user, &format!("/channels/{channel}/read")).await.body
}

#[tokio::test]
async fn a_marker_moves_forwards_and_is_told() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let before = json!({"channelId": channel, "lastReadMessageId": null, "lastReadSeq": 0, "unreadCount": 0});
    assert_eq!(marker(&world, ben, channel).await, before);
    let mut messages = Vec::new();
    for content in ["one", "two", "three"] {
        messages.push(say(&world, ann, channel, content).await);
    }
    world.heard.take();
    let told_before = world.told(ben).await.len();

    let answer = read(&world, ben, channel, &messages[1]).await;

    let now = world.clock.now().timestamp_millis();
    let expected = json!({
        "channelId": channel, "lastReadMessageId": id(&messages[1]), "lastReadSeq": 2, "unreadCount": 1,
    });
    assert_eq!((answer.status, &answer.body), (StatusCode::OK, &expected));
    assert_eq!(marker(&world, ben, channel).await, expected);
    let to_all = json!({
        "type": "READ_MARKER", "channelId": channel, "userId": ben, "lastReadMessageId": id(&messages[1]),
        "lastReadSeq": 2, "timestamp": now,
    });
    assert_eq!(world.heard.take(), [to_all]);
    let mut to_oneself = expected.clone();
    for (field, value) in
        [("type", json!("SELF_READ_MARKER")), ("timestamp", json!(now)), ("push", Value::Null)]
    {
        to_oneself[field] = value;
    }
    assert_eq!(world.told(ben).await[told_before..], [to_oneself]);

    for earlier in [&messages[0], &messages[1]] {
        assert_eq!(read(&world, ben, channel, earlier).await.body, expected);
    }
    assert_eq!(world.heard.take(), Vec::<Value>::new());
    assert_eq!(world.told(ben).await.len(), told_before + 1);
    assert_eq!(read(&world, ben, channel, &messages[2]).await.body["unreadCount"], 0);
    assert_eq!(marker(&world, ann, channel).await, before, "one's own are never unread");
}

#[tokio::test]
async fn a_marker_stands_at_a_message_of_its_conversation() {
    let world = World::new().await;
    let (ann, _, channel) = couple(&world).await;
    let elsewhere = say(&world, ann, channel_of(&world, &[ann]).await, "elsewhere").await;
    for message in [elsewhere, json!({"id": MessageId::generate()})] {
        let answer = read(&world, ann, channel, &message).await;
        assert_eq!((answer.status, answer.error()), (StatusCode::NOT_FOUND, "not_found"));
    }
    let body = json!({"messageId": "1"});
    let wrong = world.send_json(ann, "POST", &format!("/channels/{channel}/read"), &body).await;
    assert_eq!(wrong.error(), "invalid_body");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_markers_at_the_same_moment_the_furthest_stands() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let mut messages = Vec::new();
    for number in 0..20 {
        messages.push(say(&world, ann, channel, &format!("{number}")).await);
    }
    world.heard.take();

    let reading = messages.iter().rev().map(|message| read(&world, ben, channel, message));
    futures_util::future::join_all(reading).await;

    assert_eq!(marker(&world, ben, channel).await["lastReadSeq"], 20);
    let told = world.told(ben).await;
    let seqs = told.iter().filter_map(|event| event["lastReadSeq"].as_i64());
    assert!(seqs.is_sorted(), "{told:?}");
    assert_eq!(world.deadlocks().await, 0);
}

/// A number that is different each time, and the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // Knuth's MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

#[tokio::test]
async fn what_is_unread_is_what_a_naive_count_says() {
    let world = World::with(|config| config.messages.per_minute_max = 1_000).await;
    let people = [world.user(None).await, world.user(None).await, world.user(None).await];
    let channel = channel_of(&world, &people).await;
    let (mut dice, mut messages) = (Dice(5), Vec::new());
    for step in 0..300 {
        let user = people[dice.roll(3)];
        match dice.roll(8) {
            0..4 => messages.push((user, say(&world, user, channel, &format!("{step}")).await)),
            4 if !messages.is_empty() => {
                let (author, message) = &messages[dice.roll(messages.len())];
                world.delete(*author, &path(message)).await;
            }
            5..7 if !messages.is_empty() => {
                let (_, message) = &messages[dice.roll(messages.len())];
                assert_eq!(read(&world, user, channel, message).await.status, StatusCode::OK);
            }
            _ => {}
        }
        let shown = marker(&world, user, channel).await;
        let naive: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM messages
             WHERE channel_id = $1 AND seq > $2 AND user_id <> $3 AND deleted_at IS NULL",
        )
        .bind(channel.0)
        .bind(shown["lastReadSeq"].as_i64().unwrap())
        .bind(user.0)
        .fetch_one(&world.pool)
        .await
        .unwrap();
        assert_eq!(shown["unreadCount"], naive, "step {step}");
    }
    assert!(messages.len() > 100);
}
