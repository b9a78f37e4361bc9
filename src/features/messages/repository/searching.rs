//! Full-text search in what somebody may read.

use sqlx::PgExecutor;
use sqlx::types::Json;

use super::{messages, shown};
use crate::domain::ids::{ChannelId, MessageId, UserId};
use crate::features::messages::model::{Attachment, Message, Metadata, Reaction, Search};

/// What one search may cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Messages that the index finds, and that are read to be sorted.
    pub matches_max: i64,
    /// If it finds more: so many of the newest messages are looked through instead.
    pub recent_max: i64,
}

/// What of the user's conversations matches, the newest first.
///
/// The index knows words and conversations (`search` in the schema), but no order. So it is asked first, for a few more
/// matches than will be sorted: a rare word is found wherever it stands. A word that is found too often stands in the
/// newest messages, too; only these are looked through then.
pub async fn search(
    db: impl PgExecutor<'_>,
    user: UserId,
    search: &Search,
    cost: Cost,
    limit: i64,
) -> Result<Vec<Message>, sqlx::Error> {
    // Here and not in a file, because it is put together with what is shown.
    let query = shown!(
        r"JOIN (
              WITH mine AS MATERIALIZED (
                  SELECT channel_id FROM channel_members
                  WHERE user_id = $1 AND ($3::uuid IS NULL OR channel_id = $3)
              ),
              asked AS MATERIALIZED (
                  SELECT words && (SELECT string_agg(quote_literal('channel ' || channel_id), ' | ')::tsquery FROM mine) AS query
                  FROM websearch_to_tsquery('simple', $2) AS words
                  -- Without a word, it would find everything.
                  WHERE numnode(words) > 0
              ),
              matching AS MATERIALIZED (
                  SELECT f.id FROM asked JOIN messages AS f ON f.search @@ asked.query
                  -- The index has decided that already; but who may read what is not left to words. IS TRUE: a filter,
                  -- never a join.
                  WHERE f.deleted_at IS NULL AND (f.channel_id IN (SELECT channel_id FROM mine)) IS TRUE
                  LIMIT $6::bigint + 1
              ),
              recent AS MATERIALIZED (
                  SELECT n.id FROM mine CROSS JOIN asked CROSS JOIN LATERAL (
                      SELECT id, search, deleted_at FROM messages WHERE channel_id = mine.channel_id
                      ORDER BY seq DESC LIMIT greatest($7::bigint / (SELECT count(*) FROM mine), 1)
                  ) AS n
                  WHERE (SELECT count(*) FROM matching) > $6 AND n.search @@ asked.query AND n.deleted_at IS NULL
              )
              SELECT id FROM (
                  SELECT id FROM matching WHERE (SELECT count(*) FROM matching) <= $6
                  UNION ALL
                  SELECT id FROM recent
              ) AS either
              WHERE $4::uuid IS NULL OR id < $4
              -- Here, or the planner may walk through all messages in this order, and look for them among the few.
              ORDER BY id DESC LIMIT $5
          ) AS found ON found.id = m.id
          ORDER BY m.id DESC",
        user.0,
        search.text,
        search.channel.map(|channel| channel.0),
        search.before.map(|before| before.0),
        limit,
        cost.matches_max,
        cost.recent_max,
    );
    messages(query.fetch_all(db).await?)
}
