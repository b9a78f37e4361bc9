//! What people want to be told of, and who listens to what because of it.

use sqlx::PgExecutor;

use crate::db::PgConnection;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChannelId, UserId};
use crate::features::notifications::model::{General, Mute, QuietColumns, Special, SpecialOf};

/// Locks the user, so that nobody changes what they are in, or their preferences, at the same time. Returns whether there
/// is one.
pub async fn lock_user(conn: &mut PgConnection, user: UserId) -> Result<bool, sqlx::Error> {
    let found = sqlx::query_scalar!("SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE", user.0)
        .fetch_optional(conn)
        .await?;
    Ok(found.is_some())
}

/// What these users want, of those who have said something.
pub async fn of_all(
    db: impl PgExecutor<'_>,
    users: &[UserId],
) -> Result<Vec<(UserId, General)>, sqlx::Error> {
    let ids: Vec<_> = users.iter().map(|user| user.0).collect();
    let rows = sqlx::query!(
        r#"SELECT user_id AS "user: UserId", mentions, direct, invites, all_messages, quiet_from, quiet_until, time_zone
           FROM notification_preferences WHERE user_id = ANY($1)"#,
        &ids,
    )
    .fetch_all(db)
    .await?;
    let read = rows.into_iter().map(|row| {
        let quiet = QuietColumns { from: row.quiet_from, until: row.quiet_until, zone: row.time_zone };
        let general = General {
            mentions: row.mentions,
            direct: row.direct,
            invites: row.invites,
            all: row.all_messages,
            quiet_hours: quiet.read(),
        };
        (row.user, general)
    });
    Ok(read.collect())
}

pub async fn of(db: impl PgExecutor<'_>, user: UserId) -> Result<General, sqlx::Error> {
    Ok(of_all(db, &[user]).await?.pop().map(|(_, general)| general).unwrap_or_default())
}

pub async fn set(conn: &mut PgConnection, user: UserId, general: &General) -> Result<(), sqlx::Error> {
    let quiet = general.quiet_hours;
    sqlx::query!(
        "INSERT INTO notification_preferences
             (user_id, mentions, direct, invites, all_messages, quiet_from, quiet_until, time_zone)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (user_id) DO UPDATE SET
             mentions = excluded.mentions, direct = excluded.direct, invites = excluded.invites,
             all_messages = excluded.all_messages, quiet_from = excluded.quiet_from,
             quiet_until = excluded.quiet_until, time_zone = excluded.time_zone",
        user.0,
        general.mentions,
        general.direct,
        general.invites,
        general.all,
        quiet.map(|hours| hours.from),
        quiet.map(|hours| hours.until),
        quiet.map(|hours| hours.zone.name()),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// As the columns hold it.
pub fn mute_of(is_muted: bool, until: Option<Timestamp>) -> Mute {
    match (is_muted, until) {
        (false, _) => Mute::Off,
        (true, Some(until)) => Mute::Until(until),
        (true, None) => Mute::ForGood,
    }
}

/// What the user wants of conversations in particular: of one, or of those after one, by their ids.
pub async fn special(
    db: impl PgExecutor<'_>,
    user: UserId,
    only: Option<ChannelId>,
    after: Option<ChannelId>,
    limit: i64,
) -> Result<Vec<SpecialOf>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT channel_id AS "channel: ChannelId", is_muted, muted_until, mentions, all_messages
           FROM channel_preferences
           WHERE user_id = $1 AND ($2::uuid IS NULL OR channel_id = $2) AND ($3::uuid IS NULL OR channel_id > $3)
           ORDER BY channel_id LIMIT $4"#,
        user.0,
        only.map(|channel| channel.0),
        after.map(|channel| channel.0),
        limit,
    )
    .fetch_all(db)
    .await?;
    let read = rows.into_iter().map(|row| {
        let mute = mute_of(row.is_muted, row.muted_until);
        (row.channel, Special { mute, mentions: row.mentions, all: row.all_messages })
    });
    Ok(read.collect())
}

/// Keeps what the user wants of a conversation in particular; if that is nothing, nothing is kept.
pub async fn set_special(
    conn: &mut PgConnection,
    user: UserId,
    channel: ChannelId,
    special: &Special,
) -> Result<(), sqlx::Error> {
    if *special == Special::default() {
        sqlx::query!(
            "DELETE FROM channel_preferences WHERE user_id = $1 AND channel_id = $2",
            user.0,
            channel.0,
        )
        .execute(conn)
        .await?;
        return Ok(());
    }
    let until = match special.mute {
        Mute::Until(until) => Some(until),
        Mute::Off | Mute::ForGood => None,
    };
    sqlx::query!(
        "INSERT INTO channel_preferences (user_id, channel_id, is_muted, muted_until, mentions, all_messages)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (user_id, channel_id) DO UPDATE SET
             is_muted = excluded.is_muted, muted_until = excluded.muted_until, mentions = excluded.mentions,
             all_messages = excluded.all_messages",
        user.0,
        channel.0,
        special.mute != Mute::Off,
        until,
        special.mentions,
        special.all,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets the user listen to what they want every message of: everywhere, or in one conversation. The user is locked.
///
/// A row that somebody else is just deleting, with its conversation, is left to them: whoever waits for it might hold
/// what they wait for.
pub async fn listen(
    conn: &mut PgConnection,
    user: UserId,
    only: Option<ChannelId>,
) -> Result<(), sqlx::Error> {
    let only = only.map(|channel| channel.0);
    sqlx::query!(
        "DELETE FROM channel_listeners WHERE (channel_id, user_id) IN (
             SELECT l.channel_id, l.user_id FROM channel_listeners AS l
             LEFT JOIN notification_preferences AS g ON g.user_id = l.user_id
             LEFT JOIN channel_preferences AS s ON s.user_id = l.user_id AND s.channel_id = l.channel_id
             WHERE l.user_id = $1 AND ($2::uuid IS NULL OR l.channel_id = $2)
               AND NOT coalesce(s.all_messages, g.all_messages, false)
             FOR UPDATE OF l SKIP LOCKED)",
        user.0,
        only,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO channel_listeners (channel_id, user_id)
         SELECT m.channel_id, m.user_id FROM channel_members AS m
         LEFT JOIN notification_preferences AS g ON g.user_id = m.user_id
         LEFT JOIN channel_preferences AS s ON s.user_id = m.user_id AND s.channel_id = m.channel_id
         WHERE m.user_id = $1 AND ($2::uuid IS NULL OR m.channel_id = $2)
           AND coalesce(s.all_messages, g.all_messages, false)
         ON CONFLICT DO NOTHING",
        user.0,
        only,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets everything that waits for the user be decided anew; what somebody decides just now is decided already.
pub async fn decide_anew(conn: &mut PgConnection, user: UserId, now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE pending_notifications SET due_at = $2 WHERE (user_id, channel_id) IN (
             SELECT user_id, channel_id FROM pending_notifications
             WHERE user_id = $1 AND waits_for IS NOT NULL AND due_at > $2 FOR UPDATE SKIP LOCKED)",
        user.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
