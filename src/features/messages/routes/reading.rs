//! How far I have read a conversation.

use std::sync::Arc;

use axum::extract::State;

use crate::domain::ids::ChannelId;
use crate::edge::http::problem::ProblemBody;
use crate::edge::http::{Caller, Json, Path, Problem};
use crate::features::messages::bodies::MarkRead;
use crate::features::messages::service::Service;
use crate::features::messages::views::MarkerView;

/// Moves my marker to a message that I have read; never backwards. My other devices and the others there are told.
#[utoipa::path(
    post, path = "/channels/{id}/read", tag = "messages", operation_id = "mark_read", params(("id" = ChannelId, Path)),
    request_body = MarkRead,
    responses(
        (status = 200, description = "Where it is now", body = MarkerView),
        (status = 403, description = "forbidden: not a member", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found: no such conversation, or no such message in it", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn mark(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(channel): Path<ChannelId>,
    Json(body): Json<MarkRead>,
) -> Result<Json<MarkerView>, Problem> {
    let marker = service.mark_read(caller.user, channel, body.message_id).await?;
    Ok(Json(MarkerView::new(channel, marker)))
}

/// How far I have read, and how much is left: what others wrote since and did not delete.
#[utoipa::path(
    get, path = "/channels/{id}/read", tag = "messages", operation_id = "read_marker", params(("id" = ChannelId, Path)),
    responses(
        (status = 200, body = MarkerView),
        (status = 403, description = "forbidden: not a member", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found: no such conversation", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn marker(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(channel): Path<ChannelId>,
) -> Result<Json<MarkerView>, Problem> {
    let marker = service.marker(caller.user, channel).await?;
    Ok(Json(MarkerView::new(channel, marker)))
}
