//! What clients get: the response bodies. Absent values are explicit nulls.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::ids::{ChannelId, UserId};
use crate::features::channels::model::{Channel, Kind, Member, Role};

/// A conversation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Channel)]
pub struct ChannelView {
    id: ChannelId,
    /// Null for a direct conversation.
    #[schema(required)]
    name: Option<String>,
    #[schema(required)]
    description: Option<String>,
    is_private: bool,
    kind: Kind,
    /// Null once that account is deleted.
    #[schema(required)]
    created_by: Option<UserId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    member_count: u32,
    message_count: i64,
    /// Of the last message; 0 before the first.
    last_seq: i64,
}

impl From<Channel> for ChannelView {
    fn from(channel: Channel) -> Self {
        Self {
            id: channel.id,
            name: channel.name,
            description: channel.description,
            is_private: channel.is_private,
            kind: channel.kind,
            created_by: channel.created_by,
            created_at: channel.created_at,
            updated_at: channel.updated_at,
            member_count: channel.member_count,
            message_count: channel.message_count,
            last_seq: channel.last_seq,
        }
    }
}

/// One page of conversations.
#[derive(Serialize, ToSchema)]
pub struct ChannelsPage {
    items: Vec<ChannelView>,
    /// The `before` of the next page; null: this is the last.
    #[schema(required)]
    next: Option<ChannelId>,
}

impl ChannelsPage {
    pub fn new(channels: Vec<Channel>, has_more: bool) -> Self {
        let next = channels.last().filter(|_| has_more).map(|channel| channel.id);
        Self { items: channels.into_iter().map(Into::into).collect(), next }
    }
}

/// Somebody who is in a conversation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Member)]
pub struct MemberView {
    user_id: UserId,
    #[schema(required)]
    username: Option<String>,
    /// Or else the full name, or the username.
    #[schema(required)]
    display_name: Option<String>,
    #[schema(required)]
    avatar_url: Option<String>,
    #[schema(required)]
    avatar_color: Option<String>,
    role: Role,
    joined_at: DateTime<Utc>,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        Self {
            user_id: member.user,
            username: member.username,
            display_name: member.display_name,
            avatar_url: member.avatar_url,
            avatar_color: member.avatar_color,
            role: member.role,
            joined_at: member.joined_at,
        }
    }
}

/// One page of members.
#[derive(Serialize, ToSchema)]
pub struct MembersPage {
    items: Vec<MemberView>,
    /// The `after` of the next page; null: this is the last.
    #[schema(required)]
    next: Option<UserId>,
}

impl MembersPage {
    pub fn new(members: Vec<Member>, has_more: bool) -> Self {
        let next = members.last().filter(|_| has_more).map(|member| member.user);
        Self { items: members.into_iter().map(Into::into).collect(), next }
    }
}
