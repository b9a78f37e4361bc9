//! How far each device has confirmed; asked only where every device of a user counts.

use std::collections::HashMap;

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::domain::ids::UserId;

/// Moves cursors forward, never back. The three slices are parallel.
pub async fn advance(
    db: impl PgExecutor<'_>,
    users: &[Uuid],
    devices: &[String],
    seqs: &[i64],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO device_cursors AS c (user_id, device_id, confirmed_seq)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[])
         ON CONFLICT (user_id, device_id)
         DO UPDATE SET confirmed_seq = greatest(c.confirmed_seq, excluded.confirmed_seq)",
        users,
        devices,
        seqs,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The highest seq that each device of the user confirmed.
pub async fn of_user(db: impl PgExecutor<'_>, user: UserId) -> Result<HashMap<String, i64>, sqlx::Error> {
    let rows = sqlx::query!("SELECT device_id, confirmed_seq FROM device_cursors WHERE user_id = $1", user.0)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(|row| (row.device_id, row.confirmed_seq)).collect())
}
