//! The `channel_members` table, and who people are.

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::db::PgConnection;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChannelId, UserId};
use crate::features::channels::model::{Member, Role};

/// Locks these users, in the order of their ids; one who does not exist is missing. A user who is locked is neither
/// deleted nor taken into a conversation by anybody else.
pub async fn lock_users(conn: &mut PgConnection, users: &[UserId]) -> Result<Vec<UserId>, sqlx::Error> {
    let ids: Vec<Uuid> = users.iter().map(|user| user.0).collect();
    sqlx::query_scalar!(
        r#"SELECT id AS "id: UserId" FROM users WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE"#,
        &ids,
    )
    .fetch_all(conn)
    .await
}

/// Whether one of these users is in more conversations than one may be.
pub async fn is_any_beyond(
    conn: &mut PgConnection,
    users: &[UserId],
    memberships_max: u32,
) -> Result<bool, sqlx::Error> {
    let ids: Vec<Uuid> = users.iter().map(|user| user.0).collect();
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM channel_members WHERE user_id = ANY($1) GROUP BY user_id HAVING count(*) > $2
           ) AS "is_any!""#,
        &ids,
        i64::from(memberships_max),
    )
    .fetch_one(conn)
    .await
}

/// Takes these people in, all as the same. Returns those who were not in it before.
pub async fn insert(
    conn: &mut PgConnection,
    channel: ChannelId,
    users: &[UserId],
    role: Role,
    now: Timestamp,
) -> Result<Vec<UserId>, sqlx::Error> {
    let ids: Vec<Uuid> = users.iter().map(|user| user.0).collect();
    sqlx::query_scalar!(
        r#"INSERT INTO channel_members (channel_id, user_id, role, joined_at, last_read_seq)
           SELECT c.id, user_id, $3, $4, c.last_seq FROM channels AS c, unnest($2::uuid[]) AS user_id
           WHERE c.id = $1
           ON CONFLICT (channel_id, user_id) DO NOTHING
           RETURNING user_id AS "user_id: UserId""#,
        channel.0,
        &ids,
        role.as_str(),
        now,
    )
    .fetch_all(conn)
    .await
}

/// What the user is in it.
pub async fn role_of(
    conn: &mut PgConnection,
    channel: ChannelId,
    user: UserId,
) -> Result<Option<Role>, sqlx::Error> {
    let role = sqlx::query_scalar!(
        "SELECT role FROM channel_members WHERE channel_id = $1 AND user_id = $2",
        channel.0,
        user.0,
    )
    .fetch_optional(conn)
    .await?;
    role.map(|role| Role::from_column(&role)).transpose()
}

/// Whether it has an owner who is not this user.
pub async fn has_other_owner(
    conn: &mut PgConnection,
    channel: ChannelId,
    user: UserId,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM channel_members WHERE channel_id = $1 AND user_id <> $2 AND role = 'owner'
           ) AS "has_other!""#,
        channel.0,
        user.0,
    )
    .fetch_one(conn)
    .await
}

pub async fn appoint(
    conn: &mut PgConnection,
    channel: ChannelId,
    user: UserId,
    role: Role,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE channel_members SET role = $3 WHERE channel_id = $1 AND user_id = $2",
        channel.0,
        user.0,
        role.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns the conversation's revision that this took (`channel_members_changed` in the migration).
pub async fn delete(conn: &mut PgConnection, channel: ChannelId, user: UserId) -> Result<i64, sqlx::Error> {
    sqlx::query!("DELETE FROM channel_members WHERE channel_id = $1 AND user_id = $2", channel.0, user.0)
        .execute(&mut *conn)
        .await?;
    sqlx::query_scalar!("SELECT last_revision FROM channels WHERE id = $1", channel.0).fetch_one(conn).await
}

pub async fn delete_all(conn: &mut PgConnection, channel: ChannelId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM channel_members WHERE channel_id = $1", channel.0).execute(conn).await?;
    Ok(())
}

/// Members as they are shown; the text says which, and in what order.
macro_rules! shown {
    ($which:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            MemberRow,
            r#"SELECT m.user_id AS "user: UserId", u.username,
                      COALESCE(u.display_name, u.full_name, u.username) AS display_name, u.avatar_url, u.avatar_color,
                      m.role, m.joined_at
               FROM channel_members m JOIN users u ON u.id = m.user_id "# + $which
            $(, $argument)*
        )
    };
}

struct MemberRow {
    user: UserId,
    username: Option<String>,
    display_name: Option<String>,
    avatar_url: Option<String>,
    avatar_color: Option<String>,
    role: String,
    joined_at: Timestamp,
}

impl TryFrom<MemberRow> for Member {
    type Error = sqlx::Error;

    fn try_from(row: MemberRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            user: row.user,
            username: row.username,
            display_name: row.display_name,
            avatar_url: row.avatar_url,
            avatar_color: row.avatar_color,
            role: Role::from_column(&row.role)?,
            joined_at: row.joined_at,
        })
    }
}

/// The members by the order of their ids, after `after`.
pub async fn list(
    executor: impl PgExecutor<'_>,
    channel: ChannelId,
    after: Option<UserId>,
    limit: i64,
) -> Result<Vec<Member>, sqlx::Error> {
    let query = shown!(
        "WHERE m.channel_id = $1 AND m.user_id > $2 ORDER BY m.user_id LIMIT $3",
        channel.0,
        after.map_or(Uuid::nil(), |user| user.0),
        limit,
    );
    query.fetch_all(executor).await?.into_iter().map(TryInto::try_into).collect()
}

/// One of the members.
pub async fn find(
    executor: impl PgExecutor<'_>,
    channel: ChannelId,
    user: UserId,
) -> Result<Option<Member>, sqlx::Error> {
    let query = shown!("WHERE m.channel_id = $1 AND m.user_id = $2", channel.0, user.0);
    let row = query.fetch_optional(executor).await?;
    row.map(TryInto::try_into).transpose()
}
