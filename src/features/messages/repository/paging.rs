//! Conversations and threads, part by part, in the order of `seq`.
//!
//! `seq` is the order of commits: nothing appears later before what a page has shown, so that following pages have
//! neither gaps nor repetitions, whoever writes meanwhile.

use sqlx::PgExecutor;
use sqlx::types::Json;

use super::{messages, shown};
use crate::domain::ids::{ChannelId, MessageId, UserId};
use crate::features::messages::model::{Message, Metadata, Reaction};

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

/// The first messages between the bounds, in order.
pub async fn first(
    db: impl PgExecutor<'_>,
    channel: ChannelId,
    bounds: Bounds,
    limit: i64,
) -> Result<Vec<Message>, sqlx::Error> {
    let query = shown!(
        "WHERE m.channel_id = $1 AND m.seq > $2 AND m.seq < $3 ORDER BY m.seq LIMIT $4",
        channel.0,
        bounds.after,
        bounds.before,
        limit,
    );
    messages(query.fetch_all(db).await?)
}

/// The last messages between the bounds, backwards.
pub async fn last(
    db: impl PgExecutor<'_>,
    channel: ChannelId,
    bounds: Bounds,
    limit: i64,
) -> Result<Vec<Message>, sqlx::Error> {
    let query = shown!(
        "WHERE m.channel_id = $1 AND m.seq > $2 AND m.seq < $3 ORDER BY m.seq DESC LIMIT $4",
        channel.0,
        bounds.after,
        bounds.before,
        limit,
    );
    messages(query.fetch_all(db).await?)
}

/// As [`first`], of the replies in one thread.
pub async fn first_of_thread(
    db: impl PgExecutor<'_>,
    thread: MessageId,
    bounds: Bounds,
    limit: i64,
) -> Result<Vec<Message>, sqlx::Error> {
    let query = shown!(
        "WHERE m.parent_id = $1 AND m.seq > $2 AND m.seq < $3 ORDER BY m.seq LIMIT $4",
        thread.0,
        bounds.after,
        bounds.before,
        limit,
    );
    messages(query.fetch_all(db).await?)
}

/// As [`last`], of the replies in one thread.
pub async fn last_of_thread(
    db: impl PgExecutor<'_>,
    thread: MessageId,
    bounds: Bounds,
    limit: i64,
) -> Result<Vec<Message>, sqlx::Error> {
    let query = shown!(
        "WHERE m.parent_id = $1 AND m.seq > $2 AND m.seq < $3 ORDER BY m.seq DESC LIMIT $4",
        thread.0,
        bounds.after,
        bounds.before,
        limit,
    );
    messages(query.fetch_all(db).await?)
}
