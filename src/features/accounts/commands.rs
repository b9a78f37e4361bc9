//! What clients send: the request bodies, and what is accepted in each field.

use garde::Validate;
use serde::{Deserialize, Deserializer};
use utoipa::{IntoParams, ToSchema};

use super::model::{Change, Credentials, NewAccount, ProfileChange};
use super::rules::{
    AccountName, Name, is_color, is_name, is_phone_number, is_text, is_username, is_web_url, set,
};
use crate::domain::ids::UserId;
use crate::edge::http::paging::page_limit;
use crate::edge::http::{ErrorCode, Problem};

/// `POST /auth/register`
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignUp {
    /// Trimmed and lower-cased.
    #[serde(deserialize_with = "email")]
    #[garde(email, ascii, length(max = 254))]
    #[schema(format = "email", max_length = 254)]
    email: String,
    #[garde(length(chars, min = 8, max = 100), length(bytes, max = 256))]
    #[schema(format = "password", min_length = 8, max_length = 100)]
    password: String,
    #[serde(default)]
    #[garde(inner(custom(is_name)))]
    #[schema(value_type = Option<Name>)]
    display_name: Option<String>,
}

/// `POST /users/register`
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisterUser {
    #[garde(custom(is_username))]
    #[schema(min_length = 3, max_length = 50, pattern = "^[A-Za-z0-9_.-]+$")]
    username: String,
    /// Trimmed and lower-cased.
    #[serde(deserialize_with = "email")]
    #[garde(email, ascii, length(max = 254))]
    #[schema(format = "email", max_length = 254)]
    email: String,
    #[garde(length(chars, min = 8, max = 100), length(bytes, max = 256))]
    #[schema(format = "password", min_length = 8, max_length = 100)]
    password: String,
    /// `full_name` is accepted too.
    #[serde(default, alias = "full_name")]
    #[garde(inner(custom(is_name)))]
    #[schema(value_type = Option<Name>)]
    full_name: Option<String>,
}

/// `POST /auth/login`, `POST /users/login`: an e-mail address or a username, in either field.
#[derive(Deserialize, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogIn {
    #[serde(default)]
    #[garde(length(chars, max = 256), inner(custom(is_text)))]
    email: Option<String>,
    #[serde(default)]
    #[garde(length(chars, max = 256), inner(custom(is_text)))]
    username: Option<String>,
    #[garde(length(chars, min = 1, max = 256))]
    password: String,
}

/// [`LogIn`], for the API document: either field, never both.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = LogIn)]
#[expect(dead_code, reason = "only its schema is used")]
pub enum LogInForm {
    ByEmail(LogInByEmail),
    ByUsername(LogInByUsername),
}

#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct LogInByEmail {
    /// A username is taken too.
    email: AccountName,
    #[schema(format = "password", min_length = 1, max_length = 256)]
    password: String,
}

#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct LogInByUsername {
    /// An e-mail address is taken too.
    username: AccountName,
    #[schema(format = "password", min_length = 1, max_length = 256)]
    password: String,
}

/// `POST /auth/refresh`
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refresh {
    #[garde(length(chars, min = 1, max = 256))]
    #[schema(min_length = 1, max_length = 256)]
    pub refresh_token: String,
}

/// `PUT /users/me`: an absent field stays as it is, null empties one that may be empty.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateProfile {
    #[serde(default, deserialize_with = "not_null")]
    #[garde(inner(custom(is_username)))]
    #[schema(value_type = Option<String>, nullable = false, min_length = 3, max_length = 50, pattern = "^[A-Za-z0-9_.-]+$")]
    username: Option<String>,
    #[serde(default, deserialize_with = "some_email")]
    #[garde(email, ascii, length(max = 254))]
    #[schema(value_type = Option<String>, nullable = false, format = "email", max_length = 254)]
    email: Option<String>,
    #[serde(default, alias = "full_name")]
    #[garde(custom(set(is_name)))]
    #[schema(value_type = Option<Name>)]
    full_name: Change,
    #[serde(default)]
    #[garde(custom(set(is_name)))]
    #[schema(value_type = Option<Name>)]
    display_name: Change,
    #[serde(default)]
    #[garde(custom(set(is_phone_number)))]
    #[schema(value_type = Option<String>, max_length = 32, pattern = "^(?:[+ ()./-]*[0-9]){3}[+ ()./0-9-]*$")]
    phone_number: Change,
    /// `https://…` or `http://…`
    #[serde(default)]
    #[garde(custom(set(is_web_url)))]
    #[schema(value_type = Option<String>, max_length = 2048, pattern = "^https?://[A-Za-z0-9.-]+(?:/[A-Za-z0-9._~/?=&%-]*)?$")]
    avatar_url: Change,
    /// A name or `#rrggbb`.
    #[serde(default)]
    #[garde(custom(set(is_color)))]
    #[schema(value_type = Option<String>, max_length = 32, pattern = "^[A-Za-z0-9#-]+$")]
    avatar_color: Change,
}

/// `GET /users/?query=&after=&limit=`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SearchUsers {
    /// Part of a username, display name or full name; absent or empty: everybody.
    #[serde(default)]
    #[param(max_length = 100, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    query: String,
    /// The `next` of the page before.
    pub after: Option<UserId>,
    /// 50 when absent.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

impl From<SignUp> for NewAccount {
    fn from(body: SignUp) -> Self {
        let SignUp { email, password, display_name } = body;
        Self { email, password, username: None, full_name: None, display_name }
    }
}

impl From<RegisterUser> for NewAccount {
    fn from(body: RegisterUser) -> Self {
        let RegisterUser { username, email, password, full_name } = body;
        Self { email, password, username: Some(username), full_name, display_name: None }
    }
}

impl From<UpdateProfile> for ProfileChange {
    fn from(body: UpdateProfile) -> Self {
        Self {
            username: body.username,
            email: body.email,
            full_name: body.full_name,
            display_name: body.display_name,
            phone_number: body.phone_number,
            avatar_url: body.avatar_url,
            avatar_color: body.avatar_color,
        }
    }
}

impl LogIn {
    /// # Errors
    /// 422 unless exactly one of `email` and `username` is there.
    pub fn credentials(self) -> Result<Credentials, Problem> {
        match (self.email, self.username) {
            (Some(account), None) | (None, Some(account)) => Ok(Credentials::new(&account, self.password)),
            _ => Err(Problem::new(ErrorCode::InvalidBody).detail("send one of `email` and `username`")),
        }
    }
}

impl SearchUsers {
    /// What to look for, trimmed.
    ///
    /// # Errors
    /// 400 for a text that no name can contain.
    pub fn text(&self) -> Result<&str, Problem> {
        const CHARS_MAX: usize = 100;
        let text = self.query.trim();
        if text.chars().count() > CHARS_MAX || text.chars().any(char::is_control) {
            return Err(
                Problem::new(ErrorCode::BadParameter).detail("query: at most 100 printable characters")
            );
        }
        Ok(text)
    }

    /// # Errors
    /// 400 when it is not within 1..100.
    pub fn limit(&self) -> Result<u32, Problem> {
        page_limit(self.limit)
    }
}

fn email<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(String::deserialize(deserializer)?.trim().to_ascii_lowercase())
}

fn some_email<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    email(deserializer).map(Some)
}

fn not_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Empty, Self::Set))
    }
}
