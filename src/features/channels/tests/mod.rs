//! Conversations through their routes, on a real Postgres.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::domain::ids::{ChannelId, UserId};
use crate::features::channels::{Followers, Notice};
use crate::features::fixture::{Answer, World};

mod accounts;
mod conversations;
mod finding;
mod members;
pub mod permissions;
mod races;

/// What those who follow conversations live were told, in order.
#[derive(Clone, Default)]
pub struct Followed(Arc<Mutex<Vec<Seen>>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Told(ChannelId, Notice),
    Expelled(ChannelId, Option<UserId>),
}

impl Followed {
    /// All since the last call.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Followers for Followed {
    fn tell(&self, channel: ChannelId, notice: &Notice) {
        self.0.lock().push(Seen::Told(channel, notice.clone()));
    }

    fn expel(&self, channel: ChannelId, user: UserId, _: i64) {
        self.0.lock().push(Seen::Expelled(channel, Some(user)));
    }

    fn close(&self, channel: ChannelId, notice: &Notice) {
        self.0.lock().extend([Seen::Told(channel, notice.clone()), Seen::Expelled(channel, None)]);
    }
}

pub fn path(channel: ChannelId) -> String {
    format!("/channels/{channel}")
}

pub async fn create(world: &World, creator: UserId, body: Value) -> Answer {
    world.send_json(creator, "POST", "/channels", &body).await
}

/// Makes a conversation that can be made.
pub async fn made(world: &World, creator: UserId, body: Value) -> ChannelId {
    let answer = create(world, creator, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    id(&answer.body)
}

pub async fn add(world: &World, caller: UserId, channel: ChannelId, user: UserId, role: &str) -> Answer {
    let body = json!({"user_id": user, "role": role});
    world.send_json(caller, "POST", &format!("/channels/{channel}/members"), &body).await
}

pub async fn remove(world: &World, caller: UserId, channel: ChannelId, user: UserId) -> Answer {
    world.delete(caller, &format!("/channels/{channel}/members/{user}")).await
}

pub async fn join(world: &World, caller: UserId, channel: ChannelId) -> Answer {
    world.send_text(caller, "POST", &format!("/channels/{channel}/join"), "").await
}

/// Who is in it, with their roles, by their ids.
pub async fn roles(world: &World, channel: ChannelId) -> Vec<(UserId, String)> {
    let rows: Vec<(uuid::Uuid, String)> =
        sqlx::query_as("SELECT user_id, role FROM channel_members WHERE channel_id = $1 ORDER BY user_id")
            .bind(channel.0)
            .fetch_all(&world.pool)
            .await
            .unwrap();
    rows.into_iter().map(|(user, role)| (UserId(user), role)).collect()
}

pub fn id(channel: &Value) -> ChannelId {
    channel["id"].as_str().unwrap().parse().unwrap()
}
