//! Conversations: made, found, changed, deleted.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use crate::domain::ids::ChannelId;
use crate::edge::http::problem::ProblemBody;
use crate::edge::http::{Caller, Json, Path, Problem, Query};
use crate::features::channels::commands::{CreateChannel, ListChannels, UpdateChannel};
use crate::features::channels::forms::CreateChannelForm;
use crate::features::channels::service::Service;
use crate::features::channels::views::{ChannelView, ChannelsPage};

/// Makes a channel (`{name, description?, isPrivate?}`), a group (`{kind: "group", name, userIds?}`) or a direct
/// conversation (`{kind: "direct", userId}`). Of a channel or a group the caller is the owner. Two people have one
/// direct conversation: who asks for it again gets the same.
#[utoipa::path(
    post, path = "/channels", tag = "channels", operation_id = "create_channel",
    request_body(content = CreateChannelForm, examples(
        ("channel" = (value = json!({"name": "general", "description": "For everything", "is_private": false}))),
        ("group" = (value = json!({"kind": "group", "name": "Trip to Skagen", "userIds": ["01890a5d-ac96-774b-bcce-b302099a8057"]}))),
        ("direct" = (value = json!({"kind": "direct", "userId": "01890a5d-ac96-774b-bcce-b302099a8057"}))),
    )),
    responses(
        (status = 200, description = "The direct conversation of these two, which was there already", body = ChannelView),
        (status = 201, body = ChannelView),
        (status = 400, description = "own_conversation, malformed_body", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "unknown_user", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "channel_name_taken, channel_full, too_many_channels", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited: too many changes or invitations", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn create(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Json(body): Json<CreateChannel>,
) -> Result<(StatusCode, Json<ChannelView>), Problem> {
    let (channel, is_new) = service.create(caller.user, body.try_into()?).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(channel.into())))
}

/// Conversations that I am in, and public channels, the newest first.
#[utoipa::path(
    get, path = "/channels", tag = "channels", operation_id = "list_channels", params(ListChannels),
    responses(
        (status = 200, body = ChannelsPage),
        (status = 400, description = "bad_parameter", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<ListChannels>,
) -> Result<Json<ChannelsPage>, Problem> {
    let (channels, has_more) = service.list(caller.user, query.mine, query.before, query.limit()?).await?;
    Ok(Json(ChannelsPage::new(channels, has_more)))
}

/// A conversation that I am in, or a public channel.
#[utoipa::path(
    get, path = "/channels/{id}", tag = "channels", operation_id = "show_channel", params(("id" = ChannelId, Path)),
    responses(
        (status = 200, body = ChannelView),
        (status = 403, description = "forbidden: a private channel", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found: or other people's group", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn show(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(channel): Path<ChannelId>,
) -> Result<Json<ChannelView>, Problem> {
    Ok(Json(service.show(caller.user, channel).await?.into()))
}

/// Changes what it is called and about; for owners and admins. Absent fields stay as they are.
#[utoipa::path(
    put, path = "/channels/{id}", tag = "channels", operation_id = "update_channel", params(("id" = ChannelId, Path)),
    request_body = UpdateChannel,
    responses(
        (status = 200, body = ChannelView),
        (status = 403, description = "forbidden", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "channel_name_taken, always_private", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn update(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(channel): Path<ChannelId>,
    Json(body): Json<UpdateChannel>,
) -> Result<Json<ChannelView>, Problem> {
    Ok(Json(service.update(caller.user, channel, body.into()).await?.into()))
}

/// Deletes it with all that was written in it; for owners.
#[utoipa::path(
    delete, path = "/channels/{id}", tag = "channels", operation_id = "delete_channel",
    params(("id" = ChannelId, Path)),
    responses(
        (status = 204, description = "It is gone"),
        (status = 403, description = "forbidden", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn delete(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(channel): Path<ChannelId>,
) -> Result<StatusCode, Problem> {
    service.delete(caller.user, channel).await?;
    Ok(StatusCode::NO_CONTENT)
}
