//! From messages that were noticed to people who are to be told.

use sqlx::PgExecutor;

use crate::domain::clock::Timestamp;
use crate::features::notifications::config::Config;

/// As many messages are looked up when it is decided. Of more, the newest; mentions are counted by themselves, so that
/// others do not drive them out.
const MESSAGES_MAX: i64 = 100;

/// Notes some. Returns whether there may be more. Complete or not done at all.
pub async fn note(db: impl PgExecutor<'_>, now: Timestamp, config: &Config) -> Result<bool, sqlx::Error> {
    let notices_max = i64::from(config.notices_batch_max);
    let row = sqlx::query_file!(
        "src/features/notifications/repository/note.sql",
        notices_max,
        i64::from(config.listeners_batch_max),
        now,
        now + config.gather_direct(),
        now + config.gather_all(),
        MESSAGES_MAX,
    )
    .fetch_one(db)
    .await?;
    Ok(row.taken == notices_max || row.parted > 0)
}
