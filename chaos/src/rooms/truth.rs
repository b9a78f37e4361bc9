//! What Postgres holds of the rooms in the end.

use std::collections::HashMap;

use anyhow::ensure;
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

use super::Room;
use crate::client::World;
use crate::history::{Millis, fingerprint};
use crate::users::User;

/// `messages.changes_kept_max`: what is older may be forgotten.
const CHANGES_KEPT: i64 = 10_000;

#[derive(Clone, Debug, Serialize)]
pub struct Message {
    pub id: Uuid,
    pub seq: i64,
    pub revision: i64,
    pub author: Option<usize>,
    pub client_id: String,
    pub content: u64,
    pub is_deleted: bool,
    pub created_at: Millis,
}

/// What became of a message later.
#[derive(Clone, Debug, Serialize)]
pub struct Changed {
    pub revision: i64,
    pub message: Uuid,
    pub change: String,
    pub by: Uuid,
    /// The same, as we number people.
    pub user: Option<usize>,
    pub emoji: Option<String>,
}

/// All that is kept of one room.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RoomTruth {
    pub last_seq: i64,
    pub last_revision: i64,
    /// In the order of their seq.
    pub messages: Vec<Message>,
    /// In the order of their revision.
    pub changes: Vec<Changed>,
    /// Message, user and emoji.
    pub reactions: Vec<(Uuid, Uuid, String)>,
    pub members: Vec<usize>,
}

type MessageColumns = (Uuid, i64, i64, Option<Uuid>, Option<String>, String, bool, i64);
type ChangedColumns = (i64, Uuid, String, Uuid, Option<String>);

pub async fn read(pool: &PgPool, rooms: &[Room], users: &[User]) -> anyhow::Result<Vec<RoomTruth>> {
    let index: HashMap<Uuid, usize> = users.iter().map(|user| (user.person.id.0, user.index)).collect();
    let mut truths = Vec::with_capacity(rooms.len());
    for room in rooms {
        truths.push(read_one(pool, room.id, &index).await?);
    }
    Ok(truths)
}

async fn read_one(pool: &PgPool, room: Uuid, index: &HashMap<Uuid, usize>) -> anyhow::Result<RoomTruth> {
    let (last_seq, last_revision): (i64, i64) =
        sqlx::query_as("SELECT last_seq, last_revision FROM channels WHERE id = $1")
            .bind(room)
            .fetch_one(pool)
            .await?;
    ensure!(last_revision < CHANGES_KEPT, "more happened in a room than is kept: make a shorter run");
    let messages: Vec<MessageColumns> = sqlx::query_as(
        "SELECT id, seq, revision, user_id, client_id, content, deleted_at IS NOT NULL,
                (EXTRACT(EPOCH FROM created_at) * 1000)::bigint
         FROM messages WHERE channel_id = $1 ORDER BY seq",
    )
    .bind(room)
    .fetch_all(pool)
    .await?;
    let changes: Vec<ChangedColumns> = sqlx::query_as(
        "SELECT revision, message_id, change, user_id, emoji
         FROM message_changes WHERE channel_id = $1 ORDER BY revision",
    )
    .bind(room)
    .fetch_all(pool)
    .await?;
    let reactions = sqlx::query_as(
        "SELECT r.message_id, r.user_id, r.emoji
         FROM message_reactions AS r JOIN messages AS m ON m.id = r.message_id WHERE m.channel_id = $1",
    )
    .bind(room)
    .fetch_all(pool)
    .await?;
    let members: Vec<Uuid> = sqlx::query_scalar("SELECT user_id FROM channel_members WHERE channel_id = $1")
        .bind(room)
        .fetch_all(pool)
        .await?;
    let message =
        |(id, seq, revision, author, client_id, content, is_deleted, created_at): MessageColumns| Message {
            id,
            seq,
            revision,
            author: author.and_then(|author| index.get(&author).copied()),
            client_id: client_id.unwrap_or_default(),
            content: fingerprint(&content),
            is_deleted,
            created_at,
        };
    let step = |(revision, message, change, by, emoji): ChangedColumns| Changed {
        revision,
        message,
        change,
        by,
        user: index.get(&by).copied(),
        emoji,
    };
    Ok(RoomTruth {
        last_seq,
        last_revision,
        messages: messages.into_iter().map(message).collect(),
        changes: changes.into_iter().map(step).collect(),
        reactions,
        members: members.iter().filter_map(|member| index.get(member).copied()).collect(),
    })
}

/// How many members have not been told all of their rooms, and how far the rooms are, all together.
pub async fn behind(pool: &PgPool, world: &World) -> anyhow::Result<(usize, i64)> {
    let mut heads = 0;
    let mut behind = 0;
    for room in world.rooms.iter() {
        // Of the last changes, those that are told: removals are not.
        let head: i64 = sqlx::query_scalar(
            "SELECT coalesce(greatest(
                 (SELECT max(revision) FROM messages WHERE channel_id = $1),
                 (SELECT max(revision) FROM message_changes WHERE channel_id = $1)), 0)",
        )
        .bind(room.id)
        .fetch_one(pool)
        .await?;
        let members: Vec<Uuid> =
            sqlx::query_scalar("SELECT user_id FROM channel_members WHERE channel_id = $1")
                .bind(room.id)
                .fetch_all(pool)
                .await?;
        let told = world.progress.told.lock();
        let is_behind = |user: &&User| {
            let told = told.get(&(user.index, room.index)).copied().unwrap_or(0);
            members.contains(&user.person.id.0) && told < head
        };
        behind += world.users.iter().filter(is_behind).count();
        heads += head;
    }
    Ok((behind, heads))
}
