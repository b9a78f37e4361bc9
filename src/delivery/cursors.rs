//! How far each device has confirmed; asked only where every device of a user counts.

use std::collections::HashMap;

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::db::PgPool;
use crate::domain::ids::UserId;

/// Devices name themselves. Beyond so many names of one user, those that confirmed longest ago are forgotten: if
/// they are registered at all, they are pushed again.
const DEVICES_PER_USER_MAX: i64 = 64;

/// Moves cursors forward, never back. The three slices are parallel.
pub async fn advance(
    db: &PgPool,
    users: &[Uuid],
    devices: &[String],
    seqs: &[i64],
) -> Result<(), sqlx::Error> {
    // `xmax` is 0 in a row that was inserted, not updated.
    let newcomers = sqlx::query_scalar!(
        r#"
        WITH advanced AS (
            INSERT INTO device_cursors AS c (user_id, device_id, confirmed_seq, confirmed_at)
            SELECT user_id, device_id, seq, clock_timestamp()
            FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS confirmed (user_id, device_id, seq)
            ON CONFLICT (user_id, device_id) DO UPDATE SET
                confirmed_seq = greatest(c.confirmed_seq, excluded.confirmed_seq), confirmed_at = excluded.confirmed_at
            RETURNING user_id, xmax = 0 AS is_new
        )
        SELECT DISTINCT user_id AS "user_id!" FROM advanced WHERE is_new
        "#,
        users,
        devices,
        seqs,
    )
    .fetch_all(db)
    .await?;
    if newcomers.is_empty() {
        return Ok(());
    }
    forget_excess(db, &newcomers).await
}

async fn forget_excess(db: &PgPool, users: &[Uuid]) -> Result<(), sqlx::Error> {
    let forgotten = sqlx::query!(
        "DELETE FROM device_cursors WHERE (user_id, device_id) IN (
             SELECT user_id, device_id FROM (
                 SELECT user_id, device_id,
                        row_number() OVER (PARTITION BY user_id ORDER BY confirmed_at DESC, device_id) AS place
                 FROM device_cursors WHERE user_id = ANY($1)) AS ranked
             WHERE place > $2)",
        users,
        DEVICES_PER_USER_MAX,
    )
    .execute(db)
    .await?;
    metrics::counter!("fanlight_device_cursors_forgotten_total").increment(forgotten.rows_affected());
    Ok(())
}

/// The highest seq that each device of the user confirmed.
pub async fn of_user(db: impl PgExecutor<'_>, user: UserId) -> Result<HashMap<String, i64>, sqlx::Error> {
    let rows = sqlx::query!("SELECT device_id, confirmed_seq FROM device_cursors WHERE user_id = $1", user.0)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(|row| (row.device_id, row.confirmed_seq)).collect())
}
