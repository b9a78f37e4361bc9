//! Rooms on three real nodes: whoever is in one hears what happens there, whoever is not hears nothing.

use fanlight::dev::people::Person;
use fanlight::dev::process::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::Client;
use crate::socket::Socket;
use crate::stage::{Stage, options};

mod crowd;
pub mod told;

/// Messages come as fast as they can be written, and nobody is pushed who is there.
const ROOMY: [(&str, &str); 2] =
    [("FANLIGHT__DELIVERY__ACK_DEADLINE_MS", "60000"), ("FANLIGHT__MESSAGES__PER_MINUTE_MAX", "100000")];

/// A private channel of these people; the first owns it.
async fn open_room(stage: &Stage, members: &[Person]) -> String {
    let room = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO channels (id, kind, name, is_private, created_by, created_at, updated_at)
         VALUES ($1, 'channel', 'the crowd', true, $2, now(), now())",
    )
    .bind(room)
    .bind(members[0].id.0)
    .execute(&stage.pool)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO channel_members (channel_id, user_id, role, joined_at)
         SELECT $1, id, CASE WHEN id = $3 THEN 'owner' ELSE 'member' END, now() FROM unnest($2::uuid[]) AS id",
    )
    .bind(room)
    .bind(members.iter().map(|member| member.id.0).collect::<Vec<_>>())
    .bind(members[0].id.0)
    .execute(&stage.pool)
    .await
    .unwrap();
    room.to_string()
}

/// Ann's private channel, with Bob in it.
pub async fn room_of_two(stage: &Stage) -> String {
    let body = json!({"name": "two of us", "is_private": true});
    let channel = stage.ann.post("/channels/", body).await.expect(201);
    let room = channel["id"].as_str().unwrap().to_owned();
    stage.ann.post(&format!("/channels/{room}/members"), json!({"user_id": stage.bob.id})).await.expect(201);
    room
}

/// A socket that follows the room; what was not about the room has been confirmed before.
pub async fn follow(stage: &Stage, client: &Client, node: usize, room: &str) -> Socket {
    stage.until_settled_for(client).await;
    let mut socket = stage.connect(client, node, "").await;
    socket.send(json!({"type": "SUBSCRIBE", "channelId": room, "ref": "in"})).await;
    let answer = socket.expect_event("OK").await;
    assert_eq!((&answer["ref"], &answer["channelId"]), (&json!("in"), &json!(room)), "{answer}");
    socket
}

/// Lets the invitation be delivered, so that it is in nobody's way.
pub async fn take_invitation(stage: &Stage) {
    for client in [&stage.ann, &stage.bob] {
        let socket = stage.connect(client, 0, "").await;
        stage.until_settled_for(client).await;
        socket.close().await;
    }
}

async fn say(stage: &Stage, client: &Client, node: usize, room: &str, content: &str) -> Value {
    let body = json!({"channel_id": room, "content": content});
    client.at(&stage.node(node)).post("/messages/", body).await.expect(201)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_in_a_room_is_heard_on_every_node() {
    let stage = Stage::set_on(options(&ROOMY)).await;
    let room = room_of_two(&stage).await;
    take_invitation(&stage).await;
    let mut ann = follow(&stage, &stage.ann, 0, &room).await;
    let mut bob = follow(&stage, &stage.bob, 1, &room).await;

    ann.send(json!({
        "type": "SEND", "channelId": room, "content": "Hello @bob", "clientId": "c-1", "ref": "a1",
    }))
    .await;
    let written = loop {
        let frame = ann.next_event().await;
        if frame["type"] == "OK" {
            break frame;
        }
        assert_eq!(
            (&frame["type"], &frame["clientId"]),
            (&json!("MESSAGE_CREATED"), &json!("c-1")),
            "{frame}"
        );
    };
    assert_eq!((&written["ref"], &written["seq"]), (&json!("a1"), &json!(1)), "{written}");
    let heard = bob.expect_event("MESSAGE_CREATED").await;
    let message = heard["id"].as_str().unwrap().to_owned();
    assert_eq!(heard["id"], written["messageId"]);
    assert_eq!(
        (&heard["content"], &heard["userId"]),
        (&json!("Hello @bob"), &json!(stage.ann.id)),
        "{heard}"
    );

    let at = stage.bob.at(&stage.node(2));
    at.put(&format!("/messages/{message}/reactions/👍"), Value::Null).await;
    assert_eq!(bob.expect_event("REACTION_ADDED").await["emoji"], "👍");
    stage.ann.put(&format!("/messages/{message}"), json!({"content": "Hello!"})).await.expect(200);
    assert_eq!(bob.expect_event("MESSAGE_EDITED").await["content"], "Hello!");
    stage.ann.delete(&format!("/messages/{message}")).await.expect(204);
    assert_eq!(bob.expect_event("MESSAGE_DELETED").await["channelId"], room.as_str());

    ann.send(json!({"type": "TYPING", "channelId": room, "isTyping": true})).await;
    let typing = bob.expect_event("TYPING").await;
    assert_eq!((&typing["userId"], &typing["isTyping"]), (&json!(stage.ann.id), &json!(true)), "{typing}");
    // It lapses by itself.
    assert_eq!(bob.expect_event("TYPING").await["isTyping"], false);
    bob.expect_nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_taken_out_hears_nothing_more_on_any_node() {
    let stage = Stage::set_on(options(&ROOMY)).await;
    let room = room_of_two(&stage).await;
    take_invitation(&stage).await;
    let mut phone = follow(&stage, &stage.bob, 1, &room).await;
    let mut tablet = follow(&stage, &stage.bob, 2, &room).await;
    say(&stage, &stage.ann, 0, &room, "before").await;
    for socket in [&mut phone, &mut tablet] {
        assert_eq!(socket.expect_event("MESSAGE_CREATED").await["content"], "before");
    }

    let member = format!("/channels/{room}/members/{}", stage.bob.id);
    stage.ann.at(&stage.node(0)).delete(&member).await.expect(204);
    say(&stage, &stage.ann, 0, &room, "after").await;

    for socket in [&mut phone, &mut tablet] {
        let mut told = [socket.next_event().await, socket.next_event().await];
        told.sort_by_key(|frame| frame["type"].as_str().unwrap().to_owned());
        assert_eq!(told[0]["type"], "MEMBER_REMOVED");
        assert_eq!(told[1], json!({"type": "UNSUBSCRIBED", "channelId": room, "reason": "removed"}));
        socket.expect_nothing_more().await;
        socket.send(json!({"type": "SUBSCRIBE", "channelId": room})).await;
        assert_eq!(socket.expect_event("ERROR").await["code"], "forbidden");
    }
    stage
        .bob
        .post("/messages/", json!({"channel_id": room, "content": "x"}))
        .await
        .expect_problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_is_deleted_falls_silent() {
    let stage = Stage::set_on(options(&ROOMY)).await;
    let room = room_of_two(&stage).await;
    take_invitation(&stage).await;
    let mut bob = follow(&stage, &stage.bob, 1, &room).await;

    stage.ann.at(&stage.node(0)).delete(&format!("/channels/{room}")).await.expect(204);

    assert_eq!(bob.expect_event("CHANNEL_DELETED").await["deletedBy"], stage.ann.id);
    let ended = bob.expect_event("UNSUBSCRIBED").await;
    assert_eq!(ended["reason"], "gone", "{ended}");
    bob.expect_nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redis_loses_a_room_reads_from_postgres() {
    let mut stage = Stage::set_on(options(&ROOMY)).await;
    let room = room_of_two(&stage).await;
    take_invitation(&stage).await;
    let mut bob = follow(&stage, &stage.bob, 1, &room).await;

    stage.cluster.redis.process.signal(Signal::Stop).unwrap();
    for number in 0..5 {
        say(&stage, &stage.ann, 0, &room, &number.to_string()).await;
    }
    stage.cluster.redis.process.signal(Signal::Cont).unwrap();

    for number in 0..5 {
        assert_eq!(bob.expect_event("MESSAGE_CREATED").await["content"], number.to_string());
    }
    bob.expect_nothing_more().await;
    say(&stage, &stage.ann, 0, &room, "again").await;
    assert_eq!(bob.expect_event("MESSAGE_CREATED").await["content"], "again");
}
