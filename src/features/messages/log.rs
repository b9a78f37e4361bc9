//! What a conversation's followers missed, from Postgres.
//!
//! The revisions of messages and of what happened to them have no gap, but where somebody was taken out. A message is
//! told as it is now: what was changed since is told once more, at its own place.

use std::collections::HashMap;

use async_trait::async_trait;

use crate::db::PgPool;
use crate::delivery::rooms::{Head, Replay, RoomError, RoomFrame, RoomLog};
use crate::domain::ids::{ChannelId, UserId};
use crate::features::channels::members_among;
use crate::features::messages::events;
use crate::features::messages::repository;
use crate::features::messages::repository::history;
use crate::features::messages::repository::paging::{self, Bounds, Direction, Of};

pub struct Log {
    pub pool: PgPool,
}

#[async_trait]
impl RoomLog for Log {
    async fn after_revision(
        &self,
        room: ChannelId,
        revision: i64,
        limit: i64,
    ) -> Result<Vec<RoomFrame>, RoomError> {
        let steps = history::after(&self.pool, room, revision, limit).await.map_err(unavailable)?;
        let mut ids: Vec<_> = steps.iter().map(|step| step.message.0).collect();
        ids.sort_unstable();
        ids.dedup();
        let messages = repository::find_all(&self.pool, &ids).await.map_err(unavailable)?;
        let messages: HashMap<_, _> = messages.into_iter().map(|message| (message.id, message)).collect();
        let frames = steps.iter().filter_map(|step| {
            // None: the conversation is being purged.
            let message = messages.get(&step.message)?;
            Some(match &step.change {
                None => events::created(message),
                Some(change) => events::changed(message, change),
            })
        });
        Ok(frames.collect())
    }

    async fn since(&self, room: ChannelId, since: i64, limit: i64) -> Result<Replay, RoomError> {
        // Read first: all that it counts is committed, and whatever comes later is told live above it.
        let head = self.heads(&[room]).await?.pop().map(|(_, seq, revision)| Head { seq, revision });
        let head = head.ok_or(RoomError::NoSuchRoom)?;
        let bounds = Bounds { after: since, before: head.seq.saturating_add(1) };
        let part = paging::part(&self.pool, Of::Channel(room), bounds, Direction::Forwards, limit);
        let messages = part.await.map_err(unavailable)?;
        let messages = messages.iter().map(|message| (message.seq, events::created(message))).collect();
        Ok(Replay { messages, head })
    }

    async fn heads(&self, rooms: &[ChannelId]) -> Result<Vec<(ChannelId, i64, i64)>, RoomError> {
        let ids: Vec<_> = rooms.iter().map(|room| room.0).collect();
        history::heads(&self.pool, &ids).await.map_err(unavailable)
    }

    async fn members(&self, room: ChannelId, among: &[UserId]) -> Result<Vec<UserId>, RoomError> {
        members_among(&self.pool, room, among).await.map_err(unavailable)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn unavailable(error: sqlx::Error) -> RoomError {
    RoomError::Unavailable(error.to_string())
}
