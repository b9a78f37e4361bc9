//! The table of users.

use sqlx::PgExecutor;

use crate::db::{self, PgConnection};
use crate::domain::ids::UserId;
use crate::features::accounts::error::AccountError;
use crate::features::accounts::model::{Account, PublicUser, User};

/// What a login is decided by.
pub struct Login {
    pub user: UserId,
    pub password_hash: String,
    /// Whether the account is or was signed in from the client's network.
    pub is_known_address: bool,
}

/// `network` in CIDR notation.
pub async fn find_login(
    db: impl PgExecutor<'_>,
    account: &Account,
    network: &str,
) -> Result<Option<Login>, sqlx::Error> {
    let (email, username) = match account {
        Account::Email(email) => (Some(email.as_str()), None),
        Account::Username(username) => (None, Some(username.as_str())),
    };
    sqlx::query_as!(
        Login,
        r#"SELECT u.id AS "user: UserId", u.password_hash,
                  EXISTS (SELECT FROM sessions s WHERE s.user_id = u.id AND s.address <<= $3::text::inet)
                      AS "is_known_address!"
           FROM users u
           WHERE u.email = $1 OR lower(u.username) = $2"#,
        email,
        username,
        network,
    )
    .fetch_optional(db)
    .await
}

pub async fn insert(db: impl PgExecutor<'_>, user: &User, password_hash: &str) -> Result<(), AccountError> {
    sqlx::query!(
        "INSERT INTO users (id, username, email, password_hash, full_name, display_name, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        user.id.0,
        user.username,
        user.email,
        password_hash,
        user.full_name,
        user.display_name,
        user.created_at,
        user.updated_at,
    )
    .execute(db)
    .await
    .map_err(taken)?;
    Ok(())
}

pub async fn find(db: impl PgExecutor<'_>, user: UserId) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as!(
        User,
        r#"SELECT id AS "id: UserId", username, email, full_name, display_name, phone_number, avatar_url,
                  avatar_color, created_at, updated_at
           FROM users WHERE id = $1"#,
        user.0,
    )
    .fetch_optional(db)
    .await
}

/// As [`find`], and nobody else changes the profile until the transaction ends.
pub async fn lock(conn: &mut PgConnection, user: UserId) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as!(
        User,
        r#"SELECT id AS "id: UserId", username, email, full_name, display_name, phone_number, avatar_url,
                  avatar_color, created_at, updated_at
           FROM users WHERE id = $1 FOR UPDATE"#,
        user.0,
    )
    .fetch_optional(conn)
    .await
}

pub async fn update(conn: &mut PgConnection, user: &User) -> Result<(), AccountError> {
    sqlx::query!(
        "UPDATE users
         SET username = $2, email = $3, full_name = $4, display_name = $5, phone_number = $6,
             avatar_url = $7, avatar_color = $8, updated_at = $9
         WHERE id = $1",
        user.id.0,
        user.username,
        user.email,
        user.full_name,
        user.display_name,
        user.phone_number,
        user.avatar_url,
        user.avatar_color,
        user.updated_at,
    )
    .execute(conn)
    .await
    .map_err(taken)?;
    Ok(())
}

/// Replaces a hash with a stronger one of the same password, unless the password was changed meanwhile.
pub async fn replace_hash(
    db: impl PgExecutor<'_>,
    user: UserId,
    old: &str,
    new: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2",
        user.0,
        old,
        new
    )
    .execute(db)
    .await?;
    Ok(())
}

pub async fn find_public(db: impl PgExecutor<'_>, username: &str) -> Result<Option<PublicUser>, sqlx::Error> {
    sqlx::query_as!(
        PublicUser,
        r#"SELECT id AS "id: UserId", username, full_name, display_name, avatar_url, avatar_color
           FROM users WHERE lower(username) = lower($1)"#,
        username,
    )
    .fetch_optional(db)
    .await
}

/// People whose names contain `text`, by id, after `after`.
pub async fn search(
    db: impl PgExecutor<'_>,
    text: &str,
    after: Option<UserId>,
    limit: i64,
) -> Result<Vec<PublicUser>, sqlx::Error> {
    sqlx::query_as!(
        PublicUser,
        r#"SELECT id AS "id: UserId", username, full_name, display_name, avatar_url, avatar_color
           FROM users
           WHERE search_text LIKE lower($1) AND ($2::uuid IS NULL OR id > $2)
           ORDER BY id
           LIMIT $3"#,
        contains(text),
        after.map(|id| id.0),
        limit,
    )
    .fetch_all(db)
    .await
}

/// What to call somebody: the display name, else the full name, else the username.
pub async fn display_name(conn: &mut PgConnection, user: UserId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!("SELECT coalesce(display_name, full_name, username) FROM users WHERE id = $1", user.0)
        .fetch_optional(conn)
        .await
        .map(Option::flatten)
}

/// The LIKE pattern of "contains this very text".
fn contains(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for char in text.chars() {
        if matches!(char, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern.push('%');
    pattern
}

fn taken(error: sqlx::Error) -> AccountError {
    match db::violated_constraint(&error) {
        Some("users_email_key") => AccountError::EmailTaken,
        Some("users_username_key") => AccountError::UsernameTaken,
        _ => error.into(),
    }
}
