//! Two doors to a new account.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

use super::cookie;
use crate::edge::http::problem::ProblemBody;
use crate::edge::http::{Json, Problem};
use crate::features::accounts::commands::{RegisterUser, SignUp};
use crate::features::accounts::model::Client;
use crate::features::accounts::service::Service;
use crate::features::accounts::views::{TokensView, UserView};

/// Make an account by e-mail address, and log in to it.
#[utoipa::path(post, path = "/auth/register", tag = "accounts", security(()), request_body = SignUp, responses(
    (status = 201, description = "As a login, with the cookie `jwt_token`", body = TokensView),
    (status = 409, description = "email_taken", body = ProblemBody, content_type = "application/problem+json"),
    (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "unavailable, overloaded", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn sign_up(
    State(service): State<Arc<Service>>,
    client: Client,
    Json(body): Json<SignUp>,
) -> Result<Response, Problem> {
    let opened = service.sign_up(body.into(), &client).await?;
    Ok((StatusCode::CREATED, cookie::tokens(opened, service.secure_cookies())).into_response())
}

/// Make an account by username and e-mail address.
#[utoipa::path(post, path = "/users/register", tag = "accounts", security(()), request_body = RegisterUser, responses(
    (status = 201, body = UserView),
    (status = 409, description = "email_taken, username_taken", body = ProblemBody, content_type = "application/problem+json"),
    (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "unavailable, overloaded", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn register_user(
    State(service): State<Arc<Service>>,
    client: Client,
    Json(body): Json<RegisterUser>,
) -> Result<(StatusCode, Json<UserView>), Problem> {
    let user = service.register(body.into(), &client).await?;
    Ok((StatusCode::CREATED, Json(user.into())))
}
