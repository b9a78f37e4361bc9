//! The events table: what users must be told, in order, until it is settled.

use crate::db::PgConnection;
use crate::delivery::event::{Committed, NewEvent};

/// Appends events inside the caller's transaction, and gives each its place in its user's sequence.
///
/// Inboxes are locked in the order of user ids, so that two transactions that append for the same users
/// cannot deadlock. Take every other row lock before this one.
///
/// # Errors
/// When the database refuses; the caller's transaction is then void.
pub async fn append(
    conn: &mut PgConnection,
    mut events: Vec<NewEvent>,
) -> Result<Vec<Committed>, sqlx::Error> {
    events.sort_by_key(|event| event.user);
    let mut committed = Vec::with_capacity(events.len());
    for event in events {
        let seq = sqlx::query_scalar!(
            r#"SELECT append_event($1, $2, $3, $4, $5, $6) AS "seq!""#,
            event.id.0,
            event.user.0,
            event.kind,
            event.body,
            event.push_json(),
            event.ttl_ms(),
        )
        .fetch_one(&mut *conn)
        .await?;
        committed.push(event.committed(seq));
    }
    Ok(committed)
}
