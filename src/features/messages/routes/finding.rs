//! Many messages: a conversation page by page, a thread, what a search finds.

use std::sync::Arc;

use axum::extract::State;

use crate::domain::ids::{ChannelId, MessageId};
use crate::edge::http::problem::ProblemBody;
use crate::edge::http::{Caller, Json, Path, Problem, Query};
use crate::features::messages::bodies::{PageQuery, SearchQuery};
use crate::features::messages::service::Service;
use crate::features::messages::views::MessagesPage;

/// Messages of a conversation that I am in, in the order in which they were written: the newest, or those before or after
/// a message. Following pages have neither gaps nor repetitions, whoever writes meanwhile.
#[utoipa::path(
    get, path = "/messages/channels/{id}", tag = "messages", operation_id = "list_messages",
    params(("id" = ChannelId, Path), PageQuery),
    responses(
        (status = 200, body = MessagesPage),
        (status = 400, description = "bad_parameter", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "forbidden: not a member", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found: no such conversation, or no such message in it", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn page(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(channel): Path<ChannelId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<MessagesPage>, Problem> {
    Ok(Json(service.page(caller.user, channel, query.window()?).await?.into()))
}

/// The replies to a message, or beside a reply, in the order in which they were written.
#[utoipa::path(
    get, path = "/messages/{id}/thread", tag = "messages", operation_id = "list_thread",
    params(("id" = MessageId, Path), PageQuery),
    responses(
        (status = 200, body = MessagesPage),
        (status = 400, description = "bad_parameter", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "forbidden: not a member", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn thread(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(message): Path<MessageId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<MessagesPage>, Problem> {
    Ok(Json(service.thread(caller.user, message, query.window()?).await?.into()))
}

/// Messages that hold these words, the newest first, in the conversations that I am in. Of words that very many hold,
/// only the newest messages are searched.
#[utoipa::path(
    get, path = "/messages/search", tag = "messages", operation_id = "search_messages", params(SearchQuery),
    responses(
        (status = 200, body = MessagesPage),
        (status = 400, description = "bad_parameter", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "forbidden: not a member", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found: no such conversation", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn search(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<SearchQuery>,
) -> Result<Json<MessagesPage>, Problem> {
    Ok(Json(service.search(caller.user, &query.search()?).await?.into()))
}
