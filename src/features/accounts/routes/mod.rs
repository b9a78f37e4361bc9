//! The HTTP face of accounts.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::header::USER_AGENT;
use http::request::Parts;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::model::Client;
use super::service::Service;
use crate::edge::http::PeerAddress;

mod cookie;
mod registration;
mod sessions;
mod users;

pub fn all() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(registration::sign_up))
        .routes(routes!(registration::register_user))
        .routes(routes!(sessions::log_in))
        .routes(routes!(sessions::log_in_user))
        .routes(routes!(sessions::refresh))
        .routes(routes!(sessions::log_out))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::remove))
        .routes(routes!(users::profile, users::update_profile))
        .routes(routes!(users::show))
        .routes(routes!(users::search))
        .routes(routes!(users::jwks))
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        const CHARS_MAX: usize = 256;
        let PeerAddress(address) = PeerAddress::from_request_parts(parts, state).await?;
        let user_agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("");
        Ok(Self { address, user_agent: user_agent.chars().take(CHARS_MAX).collect() })
    }
}
