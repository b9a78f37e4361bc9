//! My profile, other people, and our public keys.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CACHE_CONTROL;

use crate::edge::http::problem::ProblemBody;
use crate::edge::http::{Caller, Json, Path, Problem, Query};
use crate::features::accounts::commands::{SearchUsers, UpdateProfile};
use crate::features::accounts::error::AccountError;
use crate::features::accounts::rules::is_valid_username;
use crate::features::accounts::service::Service;
use crate::features::accounts::views::{JwkSet, PublicUserView, UserView, UsersPage};

/// My account.
#[utoipa::path(get, path = "/users/me", tag = "accounts", responses(
    (status = 200, body = UserView),
))]
pub async fn profile(State(service): State<Arc<Service>>, caller: Caller) -> Result<Json<UserView>, Problem> {
    Ok(Json(service.profile(caller.user).await?.into()))
}

/// Change my account. Absent fields stay as they are.
#[utoipa::path(put, path = "/users/me", tag = "accounts", request_body = UpdateProfile, responses(
    (status = 200, body = UserView),
    (status = 409, description = "email_taken, username_taken", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn update_profile(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Json(body): Json<UpdateProfile>,
) -> Result<Json<UserView>, Problem> {
    Ok(Json(service.update_profile(caller.user, body.into()).await?.into()))
}

/// What everybody may see of a person.
#[utoipa::path(get, path = "/users/{username}", tag = "accounts",
    params(("username" = String, Path, description = "In any case of letters")),
    responses(
        (status = 200, body = PublicUserView),
        (status = 404, description = "not_found", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn show(
    State(service): State<Arc<Service>>,
    _: Caller,
    Path(username): Path<String>,
) -> Result<Json<PublicUserView>, Problem> {
    if !is_valid_username(&username) {
        return Err(AccountError::NotFound.into());
    }
    Ok(Json(service.find_user(&username).await?.into()))
}

/// People whose names contain a text.
#[utoipa::path(get, path = "/users", tag = "accounts", params(SearchUsers), responses(
    (status = 200, body = UsersPage),
    (status = 400, description = "bad_parameter", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn search(
    State(service): State<Arc<Service>>,
    _: Caller,
    Query(query): Query<SearchUsers>,
) -> Result<Json<UsersPage>, Problem> {
    let (users, has_more) = service.search_users(query.text()?, query.after, query.limit()?).await?;
    let next = users.last().filter(|_| has_more).map(|user| user.id);
    Ok(Json(UsersPage { items: users.into_iter().map(PublicUserView::from).collect(), next }))
}

/// The public keys that access tokens are signed with (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "accounts", security(()), responses(
    (status = 200, description = "A JWK set", body = JwkSet),
))]
pub async fn jwks(State(service): State<Arc<Service>>) -> impl IntoResponse {
    ([(CACHE_CONTROL, "public, max-age=300")], Json(service.keys().jwks()))
}
