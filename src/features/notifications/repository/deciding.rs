//! What is due to be decided, what is known about it, and what becomes of it.

use std::time::Duration;

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::db::PgConnection;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChannelId, MessageId, UserId};
use crate::features::notifications::decision::{Case, Cause, Decision, Reason};
use crate::features::notifications::model::{General, QuietColumns, Special};
use crate::features::notifications::repository::preferences::mute_of;

pub type Place = (UserId, ChannelId);

/// What is due and nobody is at, the oldest first.
pub async fn due(db: impl PgExecutor<'_>, now: Timestamp, limit: i64) -> Result<Vec<Place>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT user_id AS "user: UserId", channel_id AS "channel: ChannelId"
           FROM pending_notifications WHERE due_at <= $1 ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED"#,
        now,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.user, row.channel)).collect())
}

/// How long until the next one is due.
pub async fn next_due(db: impl PgExecutor<'_>, now: Timestamp) -> Result<Option<Duration>, sqlx::Error> {
    let next = sqlx::query_scalar!("SELECT min(due_at) FROM pending_notifications").fetch_one(db).await?;
    Ok(next.map(|next| (next - now).to_std().unwrap_or(Duration::ZERO)))
}

/// Locks those of them that are still due and that nobody else is at. Until the transaction ends none of these people is
/// deleted, taken out, reads on, or wants something else: whoever does that at this moment comes first, and their place is
/// left for later.
pub async fn lock(
    conn: &mut PgConnection,
    places: &[Place],
    now: Timestamp,
) -> Result<Vec<Place>, sqlx::Error> {
    let (users, channels) = columns(places);
    let rows = sqlx::query_file!("src/features/notifications/repository/lock.sql", &users, &channels, now)
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().map(|row| (row.user, row.channel)).collect())
}

/// A message, as far as it is told.
#[derive(Clone, Debug)]
pub struct Told {
    pub id: MessageId,
    pub seq: i64,
    /// None: the account was deleted.
    pub author: Option<UserId>,
    pub author_name: Option<String>,
}

/// All that is known of something that is due.
pub struct Pending {
    pub place: Place,
    pub case: Case,
    /// Why it was not told before.
    pub waited_for: Option<Reason>,
    pub channel_name: Option<String>,
    pub newest: Option<Told>,
    pub mention: Option<Told>,
}

struct Row {
    user_id: UserId,
    channel_id: ChannelId,
    cause: String,
    noticed_at: Timestamp,
    waits_for: Option<String>,
    held_since: Option<Timestamp>,
    kind: Option<String>,
    channel_name: Option<String>,
    read_to: Option<i64>,
    wants_mentions: Option<bool>,
    wants_direct: Option<bool>,
    wants_invites: Option<bool>,
    wants_all: Option<bool>,
    quiet_from: Option<chrono::NaiveTime>,
    quiet_until: Option<chrono::NaiveTime>,
    time_zone: Option<String>,
    is_muted: Option<bool>,
    muted_until: Option<Timestamp>,
    mentions_here: Option<bool>,
    all_here: Option<bool>,
    newest_id: Option<MessageId>,
    newest_seq: Option<i64>,
    newest_author: Option<UserId>,
    newest_author_name: Option<String>,
    mention_id: Option<MessageId>,
    mention_seq: Option<i64>,
    mention_author: Option<UserId>,
    mention_author_name: Option<String>,
}

impl Row {
    fn general(&self) -> General {
        let default = General::default();
        let quiet =
            QuietColumns { from: self.quiet_from, until: self.quiet_until, zone: self.time_zone.clone() };
        General {
            mentions: self.wants_mentions.unwrap_or(default.mentions),
            direct: self.wants_direct.unwrap_or(default.direct),
            invites: self.wants_invites.unwrap_or(default.invites),
            all: self.wants_all.unwrap_or(default.all),
            quiet_hours: quiet.read(),
        }
    }

    fn pending(self, is_viewing: impl Fn(&Place) -> bool) -> Result<Pending, sqlx::Error> {
        let place = (self.user_id, self.channel_id);
        let case = Case {
            noted: Cause::from_column(&self.cause)?,
            noticed_at: self.noticed_at,
            held_since: self.held_since,
            // Nobody is a member of what is being deleted.
            read_to: self.read_to.filter(|_| self.kind.is_some()),
            is_direct: self.kind.as_deref() == Some("direct"),
            // Of many messages only the newest are looked up, and mentions by themselves.
            newest: self.newest_seq.max(self.mention_seq),
            mention: self.mention_seq,
            general: self.general(),
            special: Special {
                mute: mute_of(self.is_muted.unwrap_or(false), self.muted_until),
                mentions: self.mentions_here,
                all: self.all_here,
            },
            is_viewing: is_viewing(&place),
        };
        let told = |id: Option<MessageId>, seq: Option<i64>, author, author_name| {
            Some(Told { id: id?, seq: seq?, author, author_name })
        };
        Ok(Pending {
            place,
            case,
            waited_for: self.waits_for.as_deref().map(Reason::from_column).transpose()?,
            channel_name: self.channel_name,
            newest: told(self.newest_id, self.newest_seq, self.newest_author, self.newest_author_name),
            mention: told(self.mention_id, self.mention_seq, self.mention_author, self.mention_author_name),
        })
    }
}

/// What is known of these, which are locked: a statement of its own, which sees every message that they name.
pub async fn read(
    conn: &mut PgConnection,
    places: &[Place],
    is_viewing: impl Fn(&Place) -> bool,
) -> Result<Vec<Pending>, sqlx::Error> {
    let (users, channels) = columns(places);
    let rows = sqlx::query_file_as!(Row, "src/features/notifications/repository/read.sql", &users, &channels)
        .fetch_all(conn)
        .await?;
    rows.into_iter().map(|row| row.pending(&is_viewing)).collect()
}

/// Forgets these: they are told, or never will be.
pub async fn delete(conn: &mut PgConnection, places: &[Place]) -> Result<(), sqlx::Error> {
    let (users, channels) = columns(places);
    sqlx::query!(
        "DELETE FROM pending_notifications
         WHERE (user_id, channel_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))",
        &users,
        &channels,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Leaves this for later.
pub async fn postpone(
    conn: &mut PgConnection,
    (user, channel): Place,
    reason: Reason,
    until: Timestamp,
    held_since: Option<Timestamp>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE pending_notifications SET due_at = $3, waits_for = $4, held_since = $5
         WHERE user_id = $1 AND channel_id = $2",
        user.0,
        channel.0,
        until,
        reason.as_str(),
        held_since,
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn columns(places: &[Place]) -> (Vec<Uuid>, Vec<Uuid>) {
    places.iter().map(|(user, channel)| (user.0, channel.0)).unzip()
}

impl Pending {
    /// Since when a device shows the conversation, if that is why it waits.
    pub fn held_since(&self, decision: Decision, now: Timestamp) -> Option<Timestamp> {
        let is_held = matches!(decision, Decision::Wait { reason: Reason::Viewing, .. });
        is_held.then(|| self.case.held_since.unwrap_or(now))
    }
}
