//! `GET /me`, `GET /partner`, `PATCH /status`.

use std::sync::Arc;

use axum::extract::State;
use garde::Validate;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::ids::UserId;
use crate::edge::http::problem::ProblemBody;
use crate::edge::http::{Caller, Json, Problem};
use crate::features::status::model::{Light, Person, Status};
use crate::features::status::service::Service;

/// Every route of this feature.
pub fn routes(service: Arc<Service>) -> OpenApiRouter {
    all().with_state(service)
}

/// What the routes are, for the API document.
pub fn openapi() -> OpenApi {
    all().into_openapi()
}

fn all() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(me)).routes(routes!(partner)).routes(routes!(set_status))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PersonView {
    id: UserId,
    status: Status,
    /// When a timed status lapses, epoch ms.
    #[schema(required)]
    status_expiration: Option<i64>,
    /// How long a timed status was set for, in seconds.
    #[schema(required)]
    status_duration: Option<u32>,
    #[schema(required)]
    partner_id: Option<UserId>,
    #[schema(required)]
    display_name: Option<String>,
}

impl From<Person> for PersonView {
    fn from(person: Person) -> Self {
        let (status_expiration, status_duration) = wire_timer(person.light);
        Self {
            id: person.id,
            status: person.light.status,
            status_expiration,
            status_duration,
            partner_id: person.partner,
            display_name: person.display_name,
        }
    }
}

fn wire_timer(light: Light) -> (Option<i64>, Option<u32>) {
    let timer = light.timer;
    (timer.map(|timer| timer.expires_at.timestamp_millis()), timer.map(|timer| timer.duration_seconds))
}

/// Me: my status, and whom I am linked to.
#[utoipa::path(
    get, path = "/me", tag = "couples",
    responses(
        (status = 200, body = PersonView),
    )
)]
async fn me(State(service): State<Arc<Service>>, caller: Caller) -> Result<Json<PersonView>, Problem> {
    Ok(Json(service.me(caller.user).await?.into()))
}

/// My partner, in the same shape.
#[utoipa::path(
    get, path = "/partner", tag = "couples",
    responses(
        (status = 200, body = PersonView),
        (status = 404, description = "no_partner", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn partner(State(service): State<Arc<Service>>, caller: Caller) -> Result<Json<PersonView>, Problem> {
    Ok(Json(service.partner(caller.user).await?.into()))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetStatus {
    #[garde(skip)]
    status: Status,
    /// After so many seconds the status lapses to what it was before. Without it, it stays.
    #[serde(default, deserialize_with = "whole_seconds")]
    #[garde(range(min = 1))]
    #[schema(minimum = 1, maximum = 604_800)]
    duration_seconds: Option<u32>,
}

/// `60.0` too: to JSON Schema it is an integer, and some languages write all numbers so.
fn whole_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else { return Ok(None) };
    let fraction = number.as_f64().filter(|it| it.fract() == 0.0);
    let whole = number.as_u64().or(fraction.and_then(|it| format!("{it}").parse().ok()));
    let seconds = whole.and_then(|it| u32::try_from(it).ok());
    seconds.map(Some).ok_or_else(|| D::Error::custom(format!("`{number}` is not a number of seconds")))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StatusView {
    status: Status,
    user_id: UserId,
    /// When it lapses, epoch ms.
    #[schema(required)]
    expiration: Option<i64>,
    /// For how long it was set, in seconds.
    #[schema(required)]
    duration: Option<u32>,
}

/// Sets my status; my partner sees it at once.
#[utoipa::path(
    patch, path = "/status", tag = "couples", request_body = SetStatus,
    responses(
        (status = 200, body = StatusView),
    )
)]
async fn set_status(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Json(body): Json<SetStatus>,
) -> Result<Json<StatusView>, Problem> {
    let light = service.set(caller.user, body.status, body.duration_seconds).await?;
    let (expiration, duration) = wire_timer(light);
    Ok(Json(StatusView { status: light.status, user_id: caller.user, expiration, duration }))
}
