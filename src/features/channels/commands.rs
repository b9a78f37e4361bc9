//! What clients send: the request bodies and queries, and what is accepted in each field.

#![expect(clippy::trivially_copy_pass_by_ref, reason = "garde passes its context by reference")]

use garde::Validate;
use serde::{Deserialize, Deserializer};
use utoipa::{IntoParams, ToSchema};

use crate::domain::ids::{ChannelId, UserId};
use crate::edge::http::paging::page_limit;
use crate::edge::http::{ErrorCode, Problem};
use crate::features::channels::forms::{ChannelName, Description};
use crate::features::channels::model::{ChannelChange, Kind, NewChannel, Role};

/// How many people one request takes in.
const PEOPLE_MAX: usize = 100;

/// `POST /channels`
#[derive(Deserialize, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateChannel {
    #[serde(default = "channel")]
    #[garde(skip)]
    kind: Kind,
    #[serde(default, deserialize_with = "some_trimmed")]
    #[garde(inner(custom(is_name)))]
    name: Option<String>,
    #[serde(default)]
    #[garde(inner(custom(is_description)))]
    description: Option<String>,
    #[serde(default, alias = "is_private", deserialize_with = "not_null")]
    #[garde(skip)]
    is_private: Option<bool>,
    #[serde(default, alias = "user_id", deserialize_with = "not_null")]
    #[garde(skip)]
    user_id: Option<UserId>,
    #[serde(default, alias = "user_ids", deserialize_with = "not_null")]
    #[garde(length(max = PEOPLE_MAX))]
    user_ids: Option<Vec<UserId>>,
}

impl TryFrom<CreateChannel> for NewChannel {
    type Error = Problem;

    fn try_from(body: CreateChannel) -> Result<Self, Problem> {
        let CreateChannel { kind, name, description, is_private, user_id, user_ids } = body;
        match (kind, name, user_id, user_ids, is_private) {
            (Kind::Channel, Some(name), None, None, is_private) => {
                Ok(Self::Channel { name, description, is_private: is_private.unwrap_or(false) })
            }
            (Kind::Group, Some(name), None, people, None) => {
                Ok(Self::Group { name, description, people: people.unwrap_or_default() })
            }
            (Kind::Direct, None, Some(with), None, None) if description.is_none() => {
                Ok(Self::Direct { with })
            }
            (Kind::Channel, ..) => Err(invalid("a channel has a `name`, `description` and `isPrivate`")),
            (Kind::Group, ..) => Err(invalid("a group has a `name`, `description` and `userIds`")),
            (Kind::Direct, ..) => Err(invalid("a direct conversation has a `userId`, and nothing else")),
        }
    }
}

/// `PUT /channels/{id}`: an absent field stays as it is, null empties the description.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateChannel {
    #[serde(default, deserialize_with = "some_trimmed_not_null")]
    #[garde(inner(custom(is_name)))]
    #[schema(value_type = Option<ChannelName>, nullable = false)]
    name: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    #[garde(inner(inner(custom(is_description))))]
    #[schema(value_type = Option<Description>)]
    #[expect(clippy::option_option, reason = "absent, null, or a text")]
    description: Option<Option<String>>,
    /// `is_private` is accepted too.
    #[serde(default, alias = "is_private", deserialize_with = "not_null")]
    #[garde(skip)]
    #[schema(value_type = Option<bool>, nullable = false)]
    is_private: Option<bool>,
}

impl From<UpdateChannel> for ChannelChange {
    fn from(body: UpdateChannel) -> Self {
        Self { name: body.name, description: body.description, is_private: body.is_private }
    }
}

/// `POST /channels/{id}/members`
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddMember {
    /// `user_id` is accepted too.
    #[serde(alias = "user_id")]
    #[garde(skip)]
    pub user_id: UserId,
    #[serde(default = "member")]
    #[garde(skip)]
    #[schema(value_type = Option<Role>, nullable = false)]
    pub role: Role,
}

/// `PUT /channels/{id}/members/{userId}`
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppointMember {
    #[garde(skip)]
    pub role: Role,
}

/// `GET /channels?mine=&before=&limit=`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListChannels {
    /// Only those that I am in, without the other public ones.
    #[serde(default)]
    #[param(value_type = Option<bool>)]
    pub mine: bool,
    /// The `next` of the page before.
    pub before: Option<ChannelId>,
    /// 50 when absent.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// `GET /channels/{id}/members?after=&limit=`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListMembers {
    /// The `next` of the page before.
    pub after: Option<UserId>,
    /// 50 when absent.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

impl ListChannels {
    /// # Errors
    /// 400 when it is not within 1..100.
    pub fn limit(&self) -> Result<u32, Problem> {
        page_limit(self.limit)
    }
}

impl ListMembers {
    /// # Errors
    /// 400 when it is not within 1..100.
    pub fn limit(&self) -> Result<u32, Problem> {
        page_limit(self.limit)
    }
}

fn invalid(detail: &str) -> Problem {
    Problem::new(ErrorCode::InvalidBody).detail(detail)
}

fn channel() -> Kind {
    Kind::Channel
}

fn member() -> Role {
    Role::Member
}

fn is_name(text: &str, (): &()) -> garde::Result {
    let is_name = (2..=100).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
        && !text.starts_with(char::is_whitespace)
        && !text.ends_with(char::is_whitespace);
    if is_name {
        Ok(())
    } else {
        Err(garde::Error::new("2..100 characters, none of them a control character"))
    }
}

fn is_description(text: &str, (): &()) -> garde::Result {
    let is_line_break = |c| matches!(c, '\t' | '\n' | '\r');
    let is_text = text.chars().count() <= 1000 && !text.chars().any(|c| c.is_control() && !is_line_break(c));
    if is_text { Ok(()) } else { Err(garde::Error::new("at most 1000 characters of text")) }
}

fn trimmed(text: &str) -> String {
    text.trim_matches(' ').to_owned()
}

fn some_trimmed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.as_deref().map(trimmed))
}

fn some_trimmed_not_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Some(trimmed(&String::deserialize(deserializer)?)))
}

/// A field that may be absent, but not null; or null, if that is what `T` reads.
fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
