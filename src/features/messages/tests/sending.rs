//! A message is written once, is answered as documented, and is told to the room.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use super::{channel_of, couple, id, kinds, path, say, send};
use crate::delivery::mailbox::{Bounds, Mailbox};
use crate::domain::clock::Clock as _;
use crate::domain::ids::{ChannelId, MessageId, SessionId};
use crate::edge::ws::protocol::CommandErrorCode;
use crate::edge::ws::{Answer, Call, Handler as _};
use crate::features::fixture::World;
use crate::features::messages::commands::Commands;

#[tokio::test]
async fn a_message_is_answered_shown_and_told_as_documented() {
    let world = World::new().await;
    let (ann, _, channel) = couple(&world).await;
    let now = world.clock.now();

    let body = json!({
        "channel_id": channel, "content": "Hello", "message_type": "image", "metadata": {"width": [1, {"a": null}]},
    });
    let answer = send(&world, ann, &body).await;

    assert_eq!(answer.status, StatusCode::CREATED);
    let expected = json!({
        "id": answer.body["id"], "channelId": channel, "seq": 1, "userId": ann, "content": "Hello",
        "messageType": "image", "metadata": {"width": [1, {"a": null}]}, "parentId": null, "isEdited": false,
        "isDeleted": false, "createdAt": now, "updatedAt": now, "mentions": [], "reactions": [], "attachments": [],
    });
    assert_eq!(answer.body, expected);
    assert_eq!(world.get(ann, &path(&answer.body)).await.body, expected);
    let mut told = expected;
    told["type"] = json!("MESSAGE_CREATED");
    told["timestamp"] = json!(now.timestamp_millis());
    told["revision"] = json!(1);
    assert_eq!(world.heard.take(), [told]);
    let shown = world.get(ann, &format!("/channels/{channel}")).await.body;
    assert_eq!((&shown["lastSeq"], &shown["messageCount"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_message_is_plain_text_unless_it_says_otherwise() {
    let world = World::new().await;
    let (ann, _, channel) = couple(&world).await;
    let nulls = json!({
        "channelId": channel, "content": "a", "metadata": null, "parentId": null, "clientId": null,
    });
    for body in [json!({"channelId": channel, "content": "a"}), nulls] {
        let message = send(&world, ann, &body).await.body;
        assert_eq!((&message["messageType"], &message["metadata"]), (&json!("text"), &json!({})));
    }
}

#[tokio::test]
async fn the_same_key_is_the_same_message() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let body = json!({"channelId": channel, "content": "Hello", "clientId": "c-1"});

    let first = send(&world, ann, &body).await;
    let again = send(&world, ann, &body).await;

    assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!(first.body, again.body);
    let heard = world.heard.take();
    assert_eq!(kinds(&heard), ["MESSAGE_CREATED"]);
    assert_eq!(heard[0]["clientId"], "c-1");
    // By the header, too.
    let plain = json!({"channelId": channel, "content": "Hello"});
    let by_header = async |key: &str| {
        let request = world.request(ann, "POST", "/messages").header("idempotency-key", key);
        world.send(request.body(plain.to_string().into()).unwrap()).await
    };
    let same = by_header("c-1").await;
    assert_eq!((same.status, &same.body), (StatusCode::OK, &first.body));
    assert_eq!(by_header("c-2").await.status, StatusCode::CREATED);
    for no_key in ["", "two words", &"x".repeat(129)] {
        assert_eq!(by_header(no_key).await.error(), "bad_parameter", "{no_key}");
    }
    // Others have keys of their own, and so have other channels.
    assert_eq!(send(&world, ben, &body).await.status, StatusCode::CREATED);
    let other = channel_of(&world, &[ann]).await;
    let elsewhere = json!({"channelId": other, "content": "Hello", "clientId": "c-1"});
    assert_eq!(send(&world, ann, &elsewhere).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_key_does_not_hide_another_message() {
    let world = World::new().await;
    let (ann, _, channel) = couple(&world).await;
    let with = |content: &str| json!({"channelId": channel, "content": content, "clientId": "c-1"});
    let first = send(&world, ann, &with("Hello")).await.body;

    let other = send(&world, ann, &with("Bye")).await;

    assert_eq!((other.status, other.error()), (StatusCode::CONFLICT, "key_reused"));
    // Once it was changed, nobody knows what it was written as.
    world.send_json(ann, "PUT", &path(&first), &json!({"content": "Hello all"})).await;
    let again = send(&world, ann, &with("Hello")).await;
    assert_eq!((again.status, &again.body["content"]), (StatusCode::OK, &json!("Hello all")));
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_at_the_same_moment_write_one_message() {
    const RETRIES: usize = 20;
    let world = World::new().await;
    let (ann, _, channel) = couple(&world).await;
    for round in 1..=5 {
        let body = json!({"channelId": channel, "content": "Hello", "clientId": format!("c-{round}")});

        let answers = join_all((0..RETRIES).map(|_| send(&world, ann, &body))).await;

        let created = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
        assert_eq!(created, 1);
        assert!(answers.iter().all(|answer| answer.body == answers[0].body), "{answers:?}");
        assert_eq!(answers[0].body["seq"], round);
    }
    assert_eq!(world.heard.take().len(), 5);
}

#[tokio::test]
async fn a_reply_joins_the_thread_of_what_it_answers() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let first = say(&world, ann, channel, "Lunch?").await;
    let reply = async |to: &Value, content: &str| {
        send(&world, ben, &json!({"channelId": channel, "content": content, "parentId": id(to)})).await
    };

    let one = reply(&first, "Yes").await.body;
    let other = reply(&one, "When?").await.body;

    assert_eq!((&one["parentId"], &other["parentId"]), (&first["id"], &first["id"]));
    let elsewhere = say(&world, ann, channel_of(&world, &[ann]).await, "Dinner?").await;
    assert_eq!(reply(&elsewhere, "Yes").await.error(), "not_found");
    assert_eq!(reply(&json!({"id": MessageId::generate()}), "Yes").await.error(), "not_found");
    world.delete(ben, &path(&one)).await;
    assert_eq!(reply(&one, "What?").await.error(), "not_found");
    assert_eq!(reply(&first, "Now").await.body["seq"], 4, "a refusal leaves no gap");
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_name_and_changes_nothing() {
    let world = World::new().await;
    let (ann, _, channel) = couple(&world).await;
    let wrong = [
        json!({"content": "a"}),
        json!({"channelId": channel}),
        json!({"channelId": "general", "content": "a"}),
        json!({"channelId": channel, "content": ""}),
        json!({"channelId": channel, "content": " \n "}),
        json!({"channelId": channel, "content": "a\0"}),
        json!({"channelId": channel, "content": "é".repeat(10_001)}),
        json!({"channelId": channel, "content": 1}),
        json!({"channelId": channel, "content": "a", "messageType": "system"}),
        json!({"channelId": channel, "content": "a", "messageType": "TEXT"}),
        json!({"channelId": channel, "content": "a", "metadata": []}),
        json!({"channelId": channel, "content": "a", "metadata": {"a": "x".repeat(4_096)}}),
        json!({"channelId": channel, "content": "a", "metadata": {"a": ["\0"]}}),
        json!({"channelId": channel, "content": "a", "clientId": ""}),
        json!({"channelId": channel, "content": "a", "clientId": "x".repeat(129)}),
        json!({"channelId": channel, "content": "a", "userId": ann}),
        json!({"channelId": channel, "channel_id": channel, "content": "a"}),
    ];
    for body in wrong {
        let answer = send(&world, ann, &body).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (422, "invalid_body"), "{body}");
    }
    let nowhere = json!({"channelId": ChannelId::generate(), "content": "a"});
    assert_eq!(send(&world, ann, &nowhere).await.error(), "not_found");
    assert_eq!(world.heard.take(), Vec::<Value>::new());
    let longest = json!({"channelId": channel, "content": "🦀".repeat(10_000)});
    assert_eq!(send(&world, ann, &longest).await.body["seq"], 1);
}

#[tokio::test]
async fn who_writes_too_much_is_told_when_to_go_on() {
    let world = World::with(|config| config.messages.per_minute_max = 3).await;
    let (ann, ben, channel) = couple(&world).await;
    let message = say(&world, ann, channel, "one").await;
    say(&world, ann, channel, "two").await;
    world.send_json(ann, "PUT", &path(&message), &json!({"content": "three"})).await;

    let refused = send(&world, ann, &json!({"channelId": channel, "content": "four"})).await;

    assert_eq!((refused.status.as_u16(), refused.error()), (429, "rate_limited"));
    assert_eq!(refused.headers["retry-after"], "60");
    let reaction = format!("{}/reactions/+1", path(&message));
    assert_eq!(world.send_text(ann, "PUT", &reaction, "").await.status.as_u16(), 429);
    // Others may, and the same person elsewhere.
    say(&world, ben, channel, "five").await;
    say(&world, ann, channel_of(&world, &[ann]).await, "six").await;
}

#[tokio::test]
async fn a_send_that_waits_too_long_is_answered_and_said_again_it_is_one_message() {
    let world = World::new().await;
    let (ann, _, channel) = couple(&world).await;
    let bounds = Bounds { frames_max: 10, bytes_max: 10_000 };
    let mailbox = Arc::new(Mailbox::new(ann, SessionId::generate(), None, bounds));
    let command = json!({"type": "SEND", "channelId": channel, "content": "Hello", "clientId": "c-1"});
    let call = Call::new(&mailbox, "SEND", command.to_string());

    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM channels WHERE id = $1 FOR UPDATE")
        .bind(channel.0)
        .execute(&mut *lock)
        .await
        .unwrap();
    let hasty = Commands { service: Arc::clone(&world.messages), deadline: Duration::from_millis(100) };
    let refusal = hasty.handle(&call).await.unwrap_err();
    assert_eq!(refusal.code, CommandErrorCode::Unavailable);
    lock.rollback().await.unwrap();

    // Postgres may have gone on with what nobody waits for any more.
    let answer = Commands::new(Arc::clone(&world.messages)).handle(&call).await.unwrap();
    let Answer::Frame(frame) = answer else { panic!("{answer:?}") };
    let said: Value = serde_json::from_slice(&frame[frame.len() - usize::from(frame[3])..]).unwrap();
    assert_eq!((&said["type"], &said["seq"]), (&json!("OK"), &json!(1)), "{said}");
    assert_eq!(world.count("SELECT count(*) FROM messages").await, 1);
}
