//! What clients get: the response bodies. Absent values are explicit nulls.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::model::{Opened, PublicUser, Session, User};
use crate::domain::ids::{SessionId, UserId};

/// One's own account.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = User)]
pub struct UserView {
    id: UserId,
    #[schema(required)]
    username: Option<String>,
    email: String,
    #[schema(required)]
    full_name: Option<String>,
    #[schema(required)]
    display_name: Option<String>,
    #[schema(required)]
    phone_number: Option<String>,
    #[schema(required)]
    avatar_url: Option<String>,
    #[schema(required)]
    avatar_color: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// What everybody may see of a person.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PublicUser)]
pub struct PublicUserView {
    id: UserId,
    #[schema(required)]
    username: Option<String>,
    #[schema(required)]
    full_name: Option<String>,
    #[schema(required)]
    display_name: Option<String>,
    #[schema(required)]
    avatar_url: Option<String>,
    #[schema(required)]
    avatar_color: Option<String>,
}

/// One page of people.
#[derive(Serialize, ToSchema)]
pub struct UsersPage {
    pub items: Vec<PublicUserView>,
    /// The `after` of the next page; null: this is the last.
    #[schema(required)]
    pub next: Option<UserId>,
}

/// A JWK set, for the API document.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct JwkSet {
    #[schema(value_type = Vec<Object>)]
    keys: Vec<serde_json::Value>,
}

/// A new pair of tokens, and whose they are.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Tokens)]
pub struct TokensView {
    access_token: String,
    /// Good for one use.
    refresh_token: String,
    /// Always `bearer`.
    token_type: &'static str,
    /// Seconds until the access token expires.
    expires_in: u64,
    user: UserView,
}

/// One of my logins.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Session)]
pub struct SessionView {
    id: SessionId,
    user_agent: String,
    address: String,
    created_at: DateTime<Utc>,
    last_used_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// Whether this very request was made with it.
    current: bool,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            username: user.username,
            email: user.email,
            full_name: user.full_name,
            display_name: user.display_name,
            phone_number: user.phone_number,
            avatar_url: user.avatar_url,
            avatar_color: user.avatar_color,
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

impl From<PublicUser> for PublicUserView {
    fn from(user: PublicUser) -> Self {
        Self {
            id: user.id,
            username: user.username,
            full_name: user.full_name,
            display_name: user.display_name,
            avatar_url: user.avatar_url,
            avatar_color: user.avatar_color,
        }
    }
}

impl From<Opened> for TokensView {
    fn from(opened: Opened) -> Self {
        Self {
            access_token: opened.access_token,
            refresh_token: opened.refresh_token,
            token_type: "bearer",
            expires_in: opened.expires_in,
            user: opened.user.into(),
        }
    }
}

impl SessionView {
    pub fn new(session: Session, current: SessionId) -> Self {
        Self {
            current: session.id == current,
            id: session.id,
            user_agent: session.user_agent,
            address: session.address,
            created_at: session.created_at,
            last_used_at: session.last_used_at,
            expires_at: session.expires_at,
        }
    }
}
