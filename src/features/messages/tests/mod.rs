//! Messages through their routes, on a real Postgres.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::delivery::rooms::RoomFrame;
use crate::domain::ids::{ChannelId, MessageId, UserId};
use crate::features::channels::tests::{add, made};
use crate::features::fixture::{Answer, World};
use crate::features::messages::audience::Audience;

mod changing;
mod cost;
mod documented;
mod log;
mod mentions;
mod ordering;
mod paging;
mod permissions;
mod reactions;
mod reading;
mod searching;
mod sending;

/// What those who follow conversations live were told, in order.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<RoomFrame>>>);

impl Audience for Heard {
    fn tell(&self, frame: RoomFrame) {
        self.0.lock().push(frame);
    }

    fn tell_in_passing(&self, room: ChannelId, kind: &'static str, frame: Bytes) {
        self.0.lock().push(RoomFrame { room, revision: 0, kind, frame });
    }
}

impl Heard {
    /// All since the last call. Each is checked to be what it says that it is.
    pub fn take(&self) -> Vec<Value> {
        let frames = std::mem::take(&mut *self.0.lock());
        frames.iter().map(json_of).collect()
    }
}

/// What a client reads in the frame.
pub fn json_of(frame: &RoomFrame) -> Value {
    let header = match frame.frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let json: Value = serde_json::from_slice(&frame.frame[header..]).unwrap();
    assert_eq!((&json["type"], &json["channelId"]), (&json!(frame.kind), &json!(frame.room)));
    assert_eq!(json["revision"].as_i64().unwrap_or(0), frame.revision);
    json
}

/// A private channel of the first of these people, with the others as members.
pub async fn channel_of(world: &World, people: &[UserId]) -> ChannelId {
    let body = json!({"name": format!("room {}", ChannelId::generate()), "is_private": true});
    let channel = made(world, people[0], body).await;
    for member in &people[1..] {
        assert_eq!(add(world, people[0], channel, *member, "member").await.status, 201);
    }
    channel
}

/// Ann and Ben, and a channel that both are in.
pub async fn couple(world: &World) -> (UserId, UserId, ChannelId) {
    let (ann, ben) = (world.user(Some("Ann")).await, world.user(Some("Ben")).await);
    (ann, ben, channel_of(world, &[ann, ben]).await)
}

pub async fn send(world: &World, user: UserId, body: &Value) -> Answer {
    world.send_json(user, "POST", "/messages", body).await
}

/// Says something that can be said.
pub async fn say(world: &World, user: UserId, channel: ChannelId, content: &str) -> Value {
    let answer = send(world, user, &json!({"channelId": channel, "content": content})).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body
}

pub fn id(message: &Value) -> MessageId {
    message["id"].as_str().unwrap().parse().unwrap()
}

pub fn path(message: &Value) -> String {
    format!("/messages/{}", id(message))
}

pub fn contents(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["content"].as_str().unwrap()).collect()
}

pub fn kinds(heard: &[Value]) -> Vec<&str> {
    heard.iter().map(|frame| frame["type"].as_str().unwrap()).collect()
}

/// Fills the channel by one statement: message number `n` is by the author with index `n` modulo their number, says
/// `text {n}`, and has an id that sorts as its number does.
pub async fn fill(world: &World, channel: ChannelId, authors: &[UserId], count: i64) {
    let authors: Vec<_> = authors.iter().map(|user| user.0).collect();
    sqlx::query(
        "INSERT INTO messages (id, channel_id, seq, revision, user_id, message_type, content, created_at, updated_at)
         SELECT overlay(gen_random_uuid()::text PLACING lpad(to_hex(n), 8, '0') FROM 1 FOR 8)::uuid,
                $1, n, n, $2[1 + n % cardinality($2)], 'text', 'text ' || n, now(), now()
         FROM generate_series(1, $3::bigint) AS n",
    )
    .bind(channel.0)
    .bind(authors)
    .bind(count)
    .execute(&world.pool)
    .await
    .unwrap();
    sqlx::query("UPDATE channels SET last_seq = $2, last_revision = $2, message_count = $2 WHERE id = $1")
        .bind(channel.0)
        .bind(count)
        .execute(&world.pool)
        .await
        .unwrap();
}
