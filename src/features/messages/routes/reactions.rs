//! Reactions: one per person, message and emoji.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use crate::domain::ids::MessageId;
use crate::edge::http::problem::ProblemBody;
use crate::edge::http::{Caller, Path, Problem};
use crate::features::messages::service::Service;

/// Reacts to a message. The same answer again.
#[utoipa::path(
    put, path = "/messages/{id}/reactions/{emoji}", tag = "messages", operation_id = "react",
    params(
        ("id" = MessageId, Path),
        ("emoji" = String, Path, description = "An emoji, or a short name of one, such as `+1`",
            max_length = 32, pattern = "^(?:[a-z0-9_+-]+|[\u{1f300}-\u{1f6ff}])$", example = "👍"),
    ),
    responses(
        (status = 204, description = "The reaction is there"),
        (status = 400, description = "bad_parameter: no emoji", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "forbidden: not a member", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "message_deleted, too_many_reactions", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn react(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path((message, emoji)): Path<(MessageId, String)>,
) -> Result<StatusCode, Problem> {
    service.react(caller.user, message, &emoji).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes my reaction back. The same answer whether or not it was there.
#[utoipa::path(
    delete, path = "/messages/{id}/reactions/{emoji}", tag = "messages", operation_id = "take_reaction_back",
    params(
        ("id" = MessageId, Path),
        ("emoji" = String, Path, description = "An emoji, or a short name of one, such as `+1`",
            max_length = 32, pattern = "^(?:[a-z0-9_+-]+|[\u{1f300}-\u{1f6ff}])$", example = "👍"),
    ),
    responses(
        (status = 204, description = "The reaction is not there"),
        (status = 400, description = "bad_parameter: no emoji", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "forbidden: not a member", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "message_deleted", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn take_back(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path((message, emoji)): Path<(MessageId, String)>,
) -> Result<StatusCode, Problem> {
    service.take_back(caller.user, message, &emoji).await?;
    Ok(StatusCode::NO_CONTENT)
}
