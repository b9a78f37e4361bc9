//! `/linking/sessions`, and `DELETE /partner`.

use std::sync::Arc;

use axum::extract::State;
use chrono::{DateTime, Utc};
use garde::Validate;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::ids::LinkSessionId;
use crate::edge::http::problem::ProblemBody;
use crate::edge::http::{Caller, Json, Path, Problem};
use crate::features::linking::model::LinkState;
use crate::features::linking::service::Service;

/// Every route of this feature.
pub fn routes(service: Arc<Service>) -> OpenApiRouter {
    all().with_state(service)
}

/// What the routes are, for the API document.
pub fn openapi() -> OpenApi {
    all().into_openapi()
}

fn all() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(offer))
        .routes(routes!(confirm))
        .routes(routes!(state, cancel))
        .routes(routes!(unlink))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OfferView {
    session_id: LinkSessionId,
    /// Ten characters to show to the other person.
    #[schema(example = "K7MPQ2XW9R")]
    link_code: String,
    expires_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum StateView {
    Pending,
    Confirmed,
    Expired,
}

impl From<LinkState> for StateView {
    fn from(state: LinkState) -> Self {
        match state {
            LinkState::Pending => Self::Pending,
            LinkState::Confirmed => Self::Confirmed,
            LinkState::Expired => Self::Expired,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SessionView {
    session_id: LinkSessionId,
    status: StateView,
}

/// Makes a code to show to one's partner. An earlier code of mine is void from now on.
#[utoipa::path(
    post, path = "/linking/sessions", tag = "couples",
    responses(
        (status = 201, body = OfferView),
        (status = 409, description = "already_linked", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn offer(
    State(service): State<Arc<Service>>,
    caller: Caller,
) -> Result<(StatusCode, Json<OfferView>), Problem> {
    let (session, code) = service.offer(caller.user).await?;
    let view = OfferView {
        session_id: session.id,
        link_code: code.as_str().to_owned(),
        expires_at: session.expires_at,
    };
    Ok((StatusCode::CREATED, Json(view)))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Confirm {
    /// As the other person reads it out: case and surrounding space do not matter.
    #[garde(skip)]
    #[schema(example = "K7MPQ2XW9R", pattern = r"\S")]
    link_code: String,
}

/// Links me to the owner of the code.
#[utoipa::path(
    post, path = "/linking/sessions/confirm", tag = "couples", request_body = Confirm,
    responses(
        (status = 200, body = SessionView),
        (status = 400, description = "blank_link_code, own_link_code, malformed_body", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "unknown_link_code", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "link_code_used, already_linked", body = ProblemBody, content_type = "application/problem+json"),
        (status = 410, description = "link_code_expired", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited: too many wrong codes", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn confirm(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Json(body): Json<Confirm>,
) -> Result<Json<SessionView>, Problem> {
    let session_id = service.confirm(caller.user, &body.link_code).await?;
    Ok(Json(SessionView { session_id, status: StateView::Confirmed }))
}

/// What became of my code.
#[utoipa::path(
    get, path = "/linking/sessions/{id}", tag = "couples", params(("id" = LinkSessionId, Path)),
    responses(
        (status = 200, body = SessionView),
        (status = 404, description = "not_found: or somebody else's", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn state(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(session_id): Path<LinkSessionId>,
) -> Result<Json<SessionView>, Problem> {
    let state = service.state(caller.user, session_id).await?;
    Ok(Json(SessionView { session_id, status: state.into() }))
}

/// Takes my code back.
#[utoipa::path(
    delete, path = "/linking/sessions/{id}", tag = "couples", params(("id" = LinkSessionId, Path)),
    responses(
        (status = 204, description = "The code is void"),
        (status = 404, description = "not_found: or somebody else's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "link_code_used", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn cancel(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(session_id): Path<LinkSessionId>,
) -> Result<StatusCode, Problem> {
    service.cancel(caller.user, session_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Parts me and my partner.
#[utoipa::path(
    delete, path = "/partner", tag = "couples",
    responses(
        (status = 204, description = "Neither has a partner now"),
        (status = 404, description = "no_partner", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn unlink(State(service): State<Arc<Service>>, caller: Caller) -> Result<StatusCode, Problem> {
    service.unlink(caller.user).await?;
    Ok(StatusCode::NO_CONTENT)
}
