//! Log in, refresh, log out; my devices.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::SET_COOKIE;

use super::cookie;
use crate::domain::ids::SessionId;
use crate::edge::http::problem::ProblemBody;
use crate::edge::http::{Caller, Json, Path, Problem};
use crate::features::accounts::commands::{LogIn, LogInForm, Refresh};
use crate::features::accounts::error::AccountError;
use crate::features::accounts::model::{Client, RevokedReason};
use crate::features::accounts::service::Service;
use crate::features::accounts::views::{SessionView, TokensView};

/// Log in by e-mail address or username.
///
/// An unknown account and a wrong password are answered alike.
#[utoipa::path(post, path = "/auth/login", tag = "accounts", security(()), request_body = LogInForm, responses(
    (status = 200, description = "With the cookie `jwt_token`", body = TokensView),
    (status = 401, description = "bad_credentials", body = ProblemBody, content_type = "application/problem+json"),
    (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "unavailable, overloaded", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn log_in(
    State(service): State<Arc<Service>>,
    client: Client,
    Json(body): Json<LogIn>,
) -> Result<Response, Problem> {
    let opened = service.log_in(body.credentials()?, &client).await?;
    Ok(cookie::tokens(opened, service.secure_cookies()))
}

/// Log in by username or e-mail address.
///
/// The same as `POST /auth/login`.
#[utoipa::path(post, path = "/users/login", tag = "accounts", security(()), request_body = LogInForm, responses(
    (status = 200, description = "With the cookie `jwt_token`", body = TokensView),
    (status = 401, description = "bad_credentials", body = ProblemBody, content_type = "application/problem+json"),
    (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "unavailable, overloaded", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn log_in_user(
    service: State<Arc<Service>>,
    client: Client,
    body: Json<LogIn>,
) -> Result<Response, Problem> {
    log_in(service, client, body).await
}

/// Exchange a refresh token for a new pair of tokens.
///
/// Each is good for one use; using one again ends its session.
#[utoipa::path(post, path = "/auth/refresh", tag = "accounts", security(()), request_body = Refresh, responses(
    (status = 200, description = "With the cookie `jwt_token`", body = TokensView),
    (status = 401, description = "bad_refresh_token", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn refresh(
    State(service): State<Arc<Service>>,
    Json(body): Json<Refresh>,
) -> Result<Response, Problem> {
    let opened = service.refresh(&body.refresh_token).await?;
    Ok(cookie::tokens(opened, service.secure_cookies()))
}

/// End this session.
///
/// Its sockets close within a second on every node, and its device gets no more pushes.
#[utoipa::path(post, path = "/auth/logout", tag = "accounts", responses(
    (status = 204, description = "The cookie `jwt_token` is cleared"),
))]
pub async fn log_out(State(service): State<Arc<Service>>, caller: Caller) -> Result<Response, Problem> {
    // A session that has ended already is what the caller wants.
    service.end_session(caller.user, caller.session, RevokedReason::Logout).await?;
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie::cleared(service.secure_cookies()))]).into_response())
}

/// The sessions of my account, the last used first.
#[utoipa::path(get, path = "/auth/sessions", tag = "accounts", operation_id = "list_sessions", responses(
    (status = 200, body = Vec<SessionView>),
))]
pub async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
) -> Result<Json<Vec<SessionView>>, Problem> {
    let sessions = service.sessions(caller.user).await?;
    Ok(Json(sessions.into_iter().map(|session| SessionView::new(session, caller.session)).collect()))
}

/// End one of my sessions.
#[utoipa::path(delete, path = "/auth/sessions/{id}", tag = "accounts", operation_id = "revoke_session",
    params(("id" = SessionId, Path, description = "One of mine")),
    responses(
        (status = 204),
        (status = 404, description = "not_found", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn remove(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(session): Path<SessionId>,
) -> Result<StatusCode, Problem> {
    if service.end_session(caller.user, session, RevokedReason::Removed).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(AccountError::NotFound.into())
    }
}
