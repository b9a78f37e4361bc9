//! What the API document says of bodies that the types which read them cannot say.

#![expect(dead_code, reason = "only their schemas are used")]

use utoipa::ToSchema;

use crate::domain::ids::UserId;

/// A channel, a group or a direct conversation.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = CreateChannel)]
pub enum CreateChannelForm {
    Channel(CreateNamedChannel),
    Group(CreateGroup),
    Direct(CreateDirect),
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateNamedChannel {
    /// `channel` when absent.
    #[schema(value_type = Option<OnlyChannel>, nullable = false)]
    kind: Option<OnlyChannel>,
    name: ChannelName,
    description: Option<Description>,
    /// `false` when absent; `is_private` is accepted too.
    #[schema(value_type = Option<bool>, nullable = false)]
    is_private: Option<bool>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateGroup {
    kind: OnlyGroup,
    name: ChannelName,
    description: Option<Description>,
    /// Who is in it from the beginning, beside the caller; `user_ids` is accepted too.
    #[schema(value_type = Option<Vec<UserId>>, nullable = false, max_items = 100)]
    user_ids: Option<Vec<UserId>>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateDirect {
    kind: OnlyDirect,
    /// The other person; `user_id` is accepted too.
    user_id: UserId,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum OnlyChannel {
    Channel,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum OnlyGroup {
    Group,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum OnlyDirect {
    Direct,
}

/// 2 to 100 characters. Spaces around it are dropped; two channels do not have the same name, in whatever case.
#[derive(ToSchema)]
#[schema(
    pattern = r"^ *[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]{0,98}[^\s\u0000-\u001f\u007f-\u009f] *$",
    example = "general"
)]
pub struct ChannelName(String);

/// Lines of text.
#[derive(ToSchema)]
#[schema(max_length = 1000, pattern = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$")]
pub struct Description(String);
