//! What becomes of a message: edited by its author, deleted by them or who moderates; each is told once.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::{couple, id, kinds, path, say};
use crate::domain::clock::Clock as _;
use crate::domain::ids::UserId;
use crate::features::fixture::{Answer, World};

async fn edit(world: &World, user: UserId, message: &Value, body: Value) -> Answer {
    world.send_json(user, "PUT", &path(message), &body).await
}

#[tokio::test]
async fn an_edit_is_answered_shown_and_told() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let message = say(&world, ann, channel, "Hello").await;
    world.clock.advance(Duration::from_secs(5));
    world.heard.take();

    let answer = edit(&world, ann, &message, json!({"content": "Hello all", "metadata": {"a": 1}})).await;

    let now = world.clock.now();
    let mut expected = message.clone();
    for (field, value) in [
        ("content", json!("Hello all")),
        ("metadata", json!({"a": 1})),
        ("isEdited", json!(true)),
        ("updatedAt", json!(now)),
    ] {
        expected[field] = value;
    }
    assert_eq!((answer.status, &answer.body), (StatusCode::OK, &expected));
    assert_eq!(world.get(ben, &path(&message)).await.body, expected);
    for (field, value) in [
        ("type", json!("MESSAGE_EDITED")),
        ("timestamp", json!(now.timestamp_millis())),
        ("revision", json!(2)),
    ] {
        expected[field] = value;
    }
    assert_eq!(world.heard.take(), [expected]);
    // What is not named stays, and what changes nothing is not told.
    let again = edit(&world, ann, &message, json!({"content": "Hello all"})).await;
    assert_eq!(again.body["metadata"], json!({"a": 1}));
    assert_eq!(world.heard.take(), Vec::<Value>::new());
}

#[tokio::test]
async fn an_edit_is_held_to_the_rules_of_a_message() {
    let world = World::new().await;
    let (ann, _, channel) = couple(&world).await;
    let message = say(&world, ann, channel, "Hello").await;
    for body in [
        json!({}),
        json!({"content": " "}),
        json!({"content": "x".repeat(10_001)}),
        json!({"content": "a", "metadata": {"a": "x".repeat(5_000)}}),
        json!({"content": "a", "messageType": "file"}),
    ] {
        assert_eq!(edit(&world, ann, &message, body.clone()).await.error(), "invalid_body", "{body}");
    }
    assert_eq!(world.get(ann, &path(&message)).await.body, message);
}

#[tokio::test]
async fn a_deleted_message_keeps_its_place_and_nothing_else() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let message = say(&world, ben, channel, "Oh no").await;
    say(&world, ann, channel, "What?").await;
    let reaction = format!("{}/reactions/%F0%9F%91%8D", path(&message));
    assert_eq!(world.send_text(ann, "PUT", &reaction, "").await.status, StatusCode::NO_CONTENT);
    world.heard.take();

    // The owner moderates.
    assert_eq!(world.delete(ann, &path(&message)).await.status, StatusCode::NO_CONTENT);

    let now = world.clock.now();
    let told = json!({
        "type": "MESSAGE_DELETED", "id": id(&message), "channelId": channel, "seq": 1, "userId": ann,
        "timestamp": now.timestamp_millis(), "revision": 4,
    });
    assert_eq!(world.heard.take(), [told]);
    let mut expected = message.clone();
    (expected["content"], expected["isDeleted"]) = (json!(""), json!(true));
    assert_eq!(world.get(ben, &path(&message)).await.body, expected);
    let page = world.get(ben, &format!("/messages/channels/{channel}")).await.body;
    assert_eq!(page["items"][0], expected);
    let shown = world.get(ann, &format!("/channels/{channel}")).await.body;
    assert_eq!((&shown["lastSeq"], &shown["messageCount"]), (&json!(2), &json!(1)));

    assert_eq!(world.delete(ben, &path(&message)).await.status, StatusCode::NO_CONTENT);
    let refused = edit(&world, ben, &message, json!({"content": "Back"})).await;
    assert_eq!((refused.status, refused.error()), (StatusCode::CONFLICT, "message_deleted"));
    assert_eq!(world.send_text(ann, "PUT", &reaction, "").await.error(), "message_deleted");
    assert_eq!(world.heard.take(), Vec::<Value>::new());
}

#[tokio::test]
async fn changes_at_the_same_moment_have_an_order() {
    const EDITS: usize = 10;
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let message = say(&world, ann, channel, "0").await;

    let edits =
        (0..EDITS).map(|number| edit(&world, ann, &message, json!({"content": format!("x{number}")})));
    let others = (0..EDITS).map(|_| say(&world, ben, channel, "meanwhile"));
    let (edited, _) =
        tokio::join!(futures_util::future::join_all(edits), futures_util::future::join_all(others));

    assert!(edited.iter().all(|answer| answer.status == StatusCode::OK));
    let mut heard = world.heard.take();
    heard.sort_by_key(|frame| frame["revision"].as_i64());
    let revisions = heard.iter().map(|frame| frame["revision"].as_i64().unwrap());
    assert!(revisions.eq(1..=21), "{heard:?}");
    let last = heard.iter().rfind(|frame| frame["type"] == "MESSAGE_EDITED").unwrap();
    assert_eq!(world.get(ann, &path(&message)).await.body["content"], last["content"]);
    assert_eq!(kinds(&heard).iter().filter(|kind| **kind == "MESSAGE_EDITED").count(), EDITS);
}
