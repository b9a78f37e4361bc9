//! Who is in a conversation.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use crate::domain::ids::{ChannelId, UserId};
use crate::edge::http::problem::ProblemBody;
use crate::edge::http::{Caller, Json, Path, Problem, Query};
use crate::features::channels::commands::{AddMember, AppointMember, ListMembers};
use crate::features::channels::service::Service;
use crate::features::channels::views::{MemberView, MembersPage};

/// Takes somebody in, and tells them; for owners and admins. Nobody gives a higher role than their own.
#[utoipa::path(
    post, path = "/channels/{id}/members", tag = "channels", operation_id = "add_member",
    params(("id" = ChannelId, Path)),
    request_body(content = AddMember, example = json!({"user_id": "01890a5d-ac96-774b-bcce-b302099a8057", "role": "member"})),
    responses(
        (status = 201, body = MemberView),
        (status = 403, description = "forbidden", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found, unknown_user", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "already_member, channel_full, too_many_channels", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited: too many invitations", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn add(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(channel): Path<ChannelId>,
    Json(body): Json<AddMember>,
) -> Result<(StatusCode, Json<MemberView>), Problem> {
    let member = service.add(caller.user, channel, body.user_id, body.role).await?;
    Ok((StatusCode::CREATED, Json(member.into())))
}

/// Who is in it, by their ids.
#[utoipa::path(
    get, path = "/channels/{id}/members", tag = "channels", operation_id = "list_members",
    params(("id" = ChannelId, Path), ListMembers),
    responses(
        (status = 200, body = MembersPage),
        (status = 400, description = "bad_parameter", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "forbidden: a private channel", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(channel): Path<ChannelId>,
    Query(query): Query<ListMembers>,
) -> Result<Json<MembersPage>, Problem> {
    let (members, has_more) = service.members(caller.user, channel, query.after, query.limit()?).await?;
    Ok(Json(MembersPage::new(members, has_more)))
}

/// Gives another role to somebody who is less than I am, at most my own; or makes me less. An owner who wants to go makes
/// another one first.
#[utoipa::path(
    put, path = "/channels/{id}/members/{userId}", tag = "channels", operation_id = "appoint_member",
    params(("id" = ChannelId, Path), ("userId" = UserId, Path)),
    request_body(content = AppointMember, example = json!({"role": "admin"})),
    responses(
        (status = 200, body = MemberView),
        (status = 403, description = "forbidden; last_owner: nobody else could decide", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn appoint(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path((channel, user)): Path<(ChannelId, UserId)>,
    Json(body): Json<AppointMember>,
) -> Result<Json<MemberView>, Problem> {
    let member = service.appoint(caller.user, channel, user, body.role).await?;
    Ok(Json(member.into()))
}

/// Takes somebody out who is less than I am, or lets me go. What happens in it, they are not told any more.
#[utoipa::path(
    delete, path = "/channels/{id}/members/{userId}", tag = "channels", operation_id = "remove_member",
    params(("id" = ChannelId, Path), ("userId" = UserId, Path)),
    responses(
        (status = 204, description = "They are not in it now"),
        (status = 403, description = "forbidden; last_owner: nobody else could decide", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn remove(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path((channel, user)): Path<(ChannelId, UserId)>,
) -> Result<StatusCode, Problem> {
    service.remove(caller.user, channel, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Goes into a public channel.
#[utoipa::path(
    post, path = "/channels/{id}/join", tag = "channels", operation_id = "join_channel",
    params(("id" = ChannelId, Path)),
    responses(
        (status = 200, description = "I was in it already", body = MemberView),
        (status = 201, body = MemberView),
        (status = 403, description = "forbidden: a private channel", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "channel_full, too_many_channels", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn join(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(channel): Path<ChannelId>,
) -> Result<(StatusCode, Json<MemberView>), Problem> {
    let (member, is_new) = service.join(caller.user, channel).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(member.into())))
}
