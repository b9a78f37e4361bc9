//! `GET /presence`.

use std::sync::Arc;

use axum::extract::State;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::views::{PresenceList, PresenceQuery, PresenceView};
use crate::edge::http::problem::ProblemBody;
use crate::edge::http::{Caller, Json, Problem, Query};

/// Every route of this feature.
pub fn routes(service: Arc<Service>) -> OpenApiRouter {
    all().with_state(service)
}

/// What the routes are, for the API document.
pub fn openapi() -> OpenApi {
    all().into_openapi()
}

fn all() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(presence))
}

/// Who of these people is online, away or offline: myself, my partner, and with whom I share a conversation
/// (a direct one: once they have written there).
#[utoipa::path(
    get, path = "/presence", tag = "presence", operation_id = "list_presence", params(PresenceQuery),
    responses(
        (status = 200, body = PresenceList),
        (status = 400, description = "bad_parameter", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "invalid_body: too many users", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn presence(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<PresenceQuery>,
) -> Result<Json<PresenceList>, Problem> {
    let users = query.users(service.shared.parts.config.users_per_request_max)?;
    let standings = service.visible(caller.user, &users).await?;
    Ok(Json(PresenceList { items: standings.iter().map(PresenceView::from).collect() }))
}
