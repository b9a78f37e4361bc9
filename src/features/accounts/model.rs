//! The words of this feature: accounts, sessions, and who asks.

use std::net::IpAddr;

use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};

/// A person with an account, without the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub username: Option<String>,
    pub email: String,
    pub full_name: Option<String>,
    pub display_name: Option<String>,
    pub phone_number: Option<String>,
    pub avatar_url: Option<String>,
    pub avatar_color: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What everybody may see of a user: no e-mail, no phone number.
#[derive(Clone, Debug)]
pub struct PublicUser {
    pub id: UserId,
    pub username: Option<String>,
    pub full_name: Option<String>,
    pub display_name: Option<String>,
    pub avatar_url: Option<String>,
    pub avatar_color: Option<String>,
}

/// An account to be made. The e-mail address is trimmed and lower-cased.
pub struct NewAccount {
    pub email: String,
    pub password: String,
    pub username: Option<String>,
    pub full_name: Option<String>,
    pub display_name: Option<String>,
}

/// What becomes of a field that may be empty.
#[derive(Default)]
pub enum Change {
    #[default]
    Keep,
    Empty,
    Set(String),
}

impl Change {
    fn apply(self, field: &mut Option<String>) {
        match self {
            Self::Keep => {}
            Self::Empty => *field = None,
            Self::Set(value) => *field = Some(value),
        }
    }
}

/// What to change in a profile; `None` keeps what may not be empty.
#[derive(Default)]
pub struct ProfileChange {
    pub username: Option<String>,
    pub email: Option<String>,
    pub full_name: Change,
    pub display_name: Change,
    pub phone_number: Change,
    pub avatar_url: Change,
    pub avatar_color: Change,
}

impl ProfileChange {
    pub fn apply(self, user: &mut User) {
        if let Some(username) = self.username {
            user.username = Some(username);
        }
        if let Some(email) = self.email {
            user.email = email;
        }
        self.full_name.apply(&mut user.full_name);
        self.display_name.apply(&mut user.display_name);
        self.phone_number.apply(&mut user.phone_number);
        self.avatar_url.apply(&mut user.avatar_url);
        self.avatar_color.apply(&mut user.avatar_color);
    }
}

/// Whose password it is said to be: a username never holds an `@`, an e-mail address always does.
pub enum Account {
    Email(String),
    Username(String),
}

impl Account {
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim().to_ascii_lowercase();
        if text.contains('@') { Self::Email(text) } else { Self::Username(text) }
    }

    /// The name as it is compared: two spellings of one account are one account to the limits.
    #[must_use]
    pub fn normalized(&self) -> &str {
        match self {
            Self::Email(text) | Self::Username(text) => text,
        }
    }
}

pub struct Credentials {
    pub account: Account,
    pub password: String,
}

impl Credentials {
    /// `account` is an e-mail address or a username.
    #[must_use]
    pub fn new(account: &str, password: impl Into<String>) -> Self {
        Self { account: Account::parse(account), password: password.into() }
    }
}

/// Who asks: what the session list shows, and what the limits count by.
#[derive(Clone, Debug)]
pub struct Client {
    pub address: IpAddr,
    pub user_agent: String,
}

/// One login that is still good.
#[derive(Clone, Debug)]
pub struct Session {
    pub id: SessionId,
    pub user_agent: String,
    pub address: String,
    pub created_at: Timestamp,
    pub last_used_at: Timestamp,
    pub expires_at: Timestamp,
}

/// A session that was opened or refreshed, with its new tokens.
pub struct Opened {
    pub user: User,
    pub session: SessionId,
    pub access_token: String,
    pub refresh_token: String,
    /// Seconds until the access token expires.
    pub expires_in: u64,
}

/// Why a session ended; kept in the database and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokedReason {
    Logout,
    /// Ended from another session of the same user.
    Removed,
    /// A used refresh token came back.
    RefreshReuse,
    /// The user holds more sessions than allowed.
    TooMany,
}

impl RevokedReason {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Removed => "removed",
            Self::RefreshReuse => "refresh_reuse",
            Self::TooMany => "too_many",
        }
    }
}
