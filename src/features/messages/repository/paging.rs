//! Conversations and threads, part by part, in the order of `seq`.
//!
//! `seq` is the order of commits: nothing appears later before what a page has shown, so that following pages have
//! neither gaps nor repetitions, whoever writes meanwhile.

use sqlx::PgExecutor;
use sqlx::types::Json;

use super::{messages, shown};
use crate::domain::ids::{ChannelId, MessageId, UserId};
use crate::features::messages::model::{Attachment, Message, Metadata, Reaction};

/// Between which places to read, both excluded.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub after: i64,
    pub before: i64,
}

/// Where the message stands in the conversation; `None` if it is not there.
pub async fn seq(
    db: impl PgExecutor<'_>,
    channel: ChannelId,
    message: MessageId,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!("SELECT seq FROM messages WHERE id = $1 AND channel_id = $2", message.0, channel.0)
        .fetch_optional(db)
        .await
}

/// Of what the messages are.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    Channel(ChannelId),
    /// The replies in one thread.
    Thread(MessageId),
}

/// From which bound to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The first messages, in order.
    Forwards,
    /// The last messages, the last of them first.
    Backwards,
}

/// Messages between the bounds, at most `limit`.
pub async fn part(
    db: impl PgExecutor<'_>,
    of: Of,
    bounds: Bounds,
    direction: Direction,
    limit: i64,
) -> Result<Vec<Message>, sqlx::Error> {
    macro_rules! read {
        ($which:literal, $id:expr) => {
            shown!($which, $id.0, bounds.after, bounds.before, limit).fetch_all(db).await?
        };
    }
    messages(match (of, direction) {
        (Of::Channel(channel), Direction::Forwards) => {
            read!("WHERE m.channel_id = $1 AND m.seq > $2 AND m.seq < $3 ORDER BY m.seq LIMIT $4", channel)
        }
        (Of::Channel(channel), Direction::Backwards) => read!(
            "WHERE m.channel_id = $1 AND m.seq > $2 AND m.seq < $3 ORDER BY m.seq DESC LIMIT $4",
            channel
        ),
        (Of::Thread(first), Direction::Forwards) => {
            read!("WHERE m.parent_id = $1 AND m.seq > $2 AND m.seq < $3 ORDER BY m.seq LIMIT $4", first)
        }
        (Of::Thread(first), Direction::Backwards) => {
            read!("WHERE m.parent_id = $1 AND m.seq > $2 AND m.seq < $3 ORDER BY m.seq DESC LIMIT $4", first)
        }
    })
}
