//! One message: written, read, edited, deleted.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use crate::domain::ids::MessageId;
use crate::edge::http::problem::ProblemBody;
use crate::edge::http::{Caller, IdempotencyKey, Json, Path, Problem};
use crate::features::messages::bodies::{EditMessage, SendMessage};
use crate::features::messages::model::Sent;
use crate::features::messages::service::Service;
use crate::features::messages::views::MessageView;

/// Writes a message. With `clientId`, or else with the header `Idempotency-Key`, it can be said again without fear: the
/// same key of the same author in the same conversation is the same message.
#[utoipa::path(
    post, path = "/messages", tag = "messages", operation_id = "send_message",
    params(("Idempotency-Key" = Option<String>, Header, description = "As `clientId`, which wins",
        min_length = 1, max_length = 128, pattern = "^[!-~]+$")),
    request_body = SendMessage,
    responses(
        (status = 200, description = "The message that was sent with this key, as it is now", body = MessageView),
        (status = 201, body = MessageView),
        (status = 400, description = "bad_parameter, malformed_body", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "forbidden: not a member", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found: no such conversation, or no message to reply to; unknown_upload", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "key_reused: another message was sent with this key", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn send(
    State(service): State<Arc<Service>>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<SendMessage>,
) -> Result<(StatusCode, Json<MessageView>), Problem> {
    let sent = service.send(caller.user, &body.draft(key)).await?;
    let status = if matches!(sent, Sent::Now(_)) { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(sent.message().into())))
}

/// A message of a conversation that I am in. Of a deleted one there is still this.
#[utoipa::path(
    get, path = "/messages/{id}", tag = "messages", operation_id = "show_message", params(("id" = MessageId, Path)),
    responses(
        (status = 200, body = MessageView),
        (status = 403, description = "forbidden: not a member", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn show(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(message): Path<MessageId>,
) -> Result<Json<MessageView>, Problem> {
    Ok(Json(service.find(caller.user, message).await?.into()))
}

/// Replaces what I wrote.
#[utoipa::path(
    put, path = "/messages/{id}", tag = "messages", operation_id = "edit_message", params(("id" = MessageId, Path)),
    request_body = EditMessage,
    responses(
        (status = 200, body = MessageView),
        (status = 403, description = "forbidden: somebody else's, or not a member", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "message_deleted", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn edit(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(message): Path<MessageId>,
    Json(body): Json<EditMessage>,
) -> Result<Json<MessageView>, Problem> {
    Ok(Json(service.edit(caller.user, message, &body.into()).await?.into()))
}

/// Deletes what I wrote, or as an owner or admin what others did. Its place stays, and its thread. The same answer again.
#[utoipa::path(
    delete, path = "/messages/{id}", tag = "messages", operation_id = "delete_message",
    params(("id" = MessageId, Path)),
    responses(
        (status = 204, description = "Its content is gone"),
        (status = 403, description = "forbidden: somebody else's, or not a member", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn delete(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(message): Path<MessageId>,
) -> Result<StatusCode, Problem> {
    service.delete(caller.user, message).await?;
    Ok(StatusCode::NO_CONTENT)
}
