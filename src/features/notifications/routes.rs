//! `/notification-preferences`.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::ids::ChannelId;
use crate::edge::http::problem::ProblemBody;
use crate::edge::http::{Caller, Json, Path, Problem, Query};
use crate::features::notifications::bodies::{
    ChangePreferences, ChannelPreferencesPage, ChannelPreferencesView, ListChannelPreferences,
    PreferencesView, SetChannelPreferences,
};
use crate::features::notifications::model::Special;
use crate::features::notifications::service::Service;

/// Every route of this feature.
pub fn routes(service: Arc<Service>) -> OpenApiRouter {
    all().with_state(service)
}

/// What the routes are, for the API document.
pub fn openapi() -> OpenApi {
    all().into_openapi()
}

fn all() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(show, change)).routes(routes!(list_channels)).routes(routes!(
        show_channel,
        set_channel,
        reset_channel
    ))
}

/// What I want to be told of while I am elsewhere.
#[utoipa::path(
    get, path = "/notification-preferences", tag = "notifications", operation_id = "show_preferences",
    responses(
        (status = 200, body = PreferencesView),
    )
)]
async fn show(State(service): State<Arc<Service>>, caller: Caller) -> Result<Json<PreferencesView>, Problem> {
    Ok(Json(service.general(caller.user).await?.into()))
}

/// Changes it; what is absent stays as it is. What waits for me is decided anew.
#[utoipa::path(
    put, path = "/notification-preferences", tag = "notifications", operation_id = "change_preferences",
    request_body(content = ChangePreferences, example = json!({
        "mentions": true, "direct": true, "invites": false, "all": false,
        "quietHours": {"from": "22:00", "until": "07:00", "timeZone": "Europe/Copenhagen"},
    })),
    responses(
        (status = 200, body = PreferencesView),
        (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn change(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Json(body): Json<ChangePreferences>,
) -> Result<Json<PreferencesView>, Problem> {
    Ok(Json(service.change(caller.user, body.into()).await?.into()))
}

/// The conversations of which I want something in particular, by their ids.
#[utoipa::path(
    get, path = "/notification-preferences/channels", tag = "notifications",
    operation_id = "list_channel_preferences", params(ListChannelPreferences),
    responses(
        (status = 200, body = ChannelPreferencesPage),
        (status = 400, description = "bad_parameter", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn list_channels(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<ListChannelPreferences>,
) -> Result<Json<ChannelPreferencesPage>, Problem> {
    let (found, has_more) = service.specials(caller.user, query.after, query.limit()?).await?;
    Ok(Json(ChannelPreferencesPage::new(found, has_more, service.clock.now())))
}

/// What I want of one conversation in particular.
#[utoipa::path(
    get, path = "/notification-preferences/channels/{id}", tag = "notifications",
    operation_id = "show_channel_preferences", params(("id" = ChannelId, Path)),
    responses(
        (status = 200, body = ChannelPreferencesView),
        (status = 403, description = "forbidden: not a member", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found: no such conversation", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn show_channel(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(channel): Path<ChannelId>,
) -> Result<Json<ChannelPreferencesView>, Problem> {
    let special = service.special(caller.user, channel).await?;
    Ok(Json(ChannelPreferencesView::new(channel, special, service.clock.now())))
}

/// Mutes it, or says otherwise what I want of it: all that is absent is as everywhere else.
#[utoipa::path(
    put, path = "/notification-preferences/channels/{id}", tag = "notifications",
    operation_id = "set_channel_preferences", params(("id" = ChannelId, Path)),
    request_body(content = SetChannelPreferences, example = json!({"muted": true, "mutedUntil": "2030-01-01T07:00:00Z"})),
    responses(
        (status = 200, body = ChannelPreferencesView),
        (status = 403, description = "forbidden: not a member", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found: no such conversation", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn set_channel(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(channel): Path<ChannelId>,
    Json(body): Json<SetChannelPreferences>,
) -> Result<Json<ChannelPreferencesView>, Problem> {
    let special = body.into();
    service.set_special(caller.user, channel, special).await?;
    Ok(Json(ChannelPreferencesView::new(channel, special, service.clock.now())))
}

/// Wants of it what I want everywhere else. The same answer if that was so.
#[utoipa::path(
    delete, path = "/notification-preferences/channels/{id}", tag = "notifications",
    operation_id = "reset_channel_preferences", params(("id" = ChannelId, Path)),
    responses(
        (status = 204, description = "Nothing in particular is wanted now"),
        (status = 403, description = "forbidden: not a member", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_found: no such conversation", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn reset_channel(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(channel): Path<ChannelId>,
) -> Result<StatusCode, Problem> {
    service.set_special(caller.user, channel, Special::default()).await?;
    Ok(StatusCode::NO_CONTENT)
}
