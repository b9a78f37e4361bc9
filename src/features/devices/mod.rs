//! The phones and browsers that can be woken by a push.

use crate::db::PgConnection;
use crate::domain::clock::Timestamp;
use crate::domain::ids::SessionId;

/// Retires the device tokens that a session registered, in the transaction that ends it.
pub async fn retire_for_session(
    conn: &mut PgConnection,
    session: SessionId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE device_tokens SET deactivated_at = $2, deactivated_reason = 'session_ended', updated_at = $2
         WHERE session_id = $1 AND deactivated_at IS NULL",
        session.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
