//! The token endpoint: a signed assertion in, an access token out, as `oauth2.googleapis.com/token` does it.

use std::collections::HashMap;
use std::future;
use std::sync::Arc;

use axum::Form;
use axum::extract::State;
use axum::response::Response;
use chrono::TimeDelta;
use http::StatusCode;
use jsonwebtoken::{Algorithm, Validation};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::replies::pretty;
use super::{Fake, OauthMode};
use crate::domain::clock::Timestamp;
use crate::domain::random;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Either gives the right to push.
const SCOPES: [&str; 2] =
    ["https://www.googleapis.com/auth/firebase.messaging", "https://www.googleapis.com/auth/cloud-platform"];
/// Google's own client libraries name this audience even when they were told of another endpoint.
const GOOGLE_AUDIENCE: &str = "https://oauth2.googleapis.com/token";
const LIFE_SECONDS_MAX: i64 = 3600;
/// How far ahead of Google's clock an assertion may be.
const AHEAD_SECONDS_MAX: i64 = 300;
const TOKENS_MAX: usize = 10_000;

/// The access tokens that are good now.
#[derive(Default)]
pub(super) struct Issued {
    tokens: HashMap<String, Timestamp>,
    requests: u64,
}

impl Issued {
    fn issue(&mut self, now: Timestamp, life_seconds: i64) -> String {
        self.tokens.retain(|_, expires_at| now < *expires_at);
        let token = format!("ya29.c.{}", random::secret());
        if self.tokens.len() < TOKENS_MAX {
            self.tokens.insert(token.clone(), now + TimeDelta::seconds(life_seconds));
        }
        token
    }

    pub(super) fn accepts(&self, token: &str, now: Timestamp) -> bool {
        self.tokens.get(token).is_some_and(|expires_at| now < *expires_at)
    }

    pub(super) fn revoke(&mut self) {
        self.tokens.clear();
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests
    }
}

#[derive(Deserialize)]
pub(super) struct TokenRequest {
    #[serde(default)]
    grant_type: String,
    #[serde(default)]
    assertion: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    #[serde(default)]
    scope: String,
    iat: i64,
    exp: i64,
}

#[derive(Serialize)]
struct Grant {
    access_token: String,
    expires_in: i64,
    token_type: &'static str,
}

pub(super) async fn token(State(fake): State<Arc<Fake>>, Form(request): Form<TokenRequest>) -> Response {
    let mode = {
        let mut inner = fake.inner.lock();
        inner.issued.requests += 1;
        inner.scripted.oauth
    };
    match mode {
        OauthMode::Hang => future::pending().await,
        OauthMode::Error => refused(StatusCode::INTERNAL_SERVER_ERROR, "internal_failure", "Backend Error"),
        OauthMode::Ok => grant(&fake, &request),
    }
}

fn grant(fake: &Fake, request: &TokenRequest) -> Response {
    if request.grant_type != GRANT_TYPE {
        return refused(StatusCode::BAD_REQUEST, "unsupported_grant_type", "Invalid grant_type");
    }
    let now = fake.clock.now();
    if let Err((error, description)) = verify(fake, &request.assertion, now) {
        return refused(StatusCode::BAD_REQUEST, error, description);
    }
    let mut inner = fake.inner.lock();
    let expires_in = inner.scripted.token_life_seconds;
    let access_token = inner.issued.issue(now, expires_in);
    pretty(StatusCode::OK, &Grant { access_token, expires_in, token_type: "Bearer" })
}

fn verify(fake: &Fake, assertion: &str, now: Timestamp) -> Result<(), (&'static str, &'static str)> {
    let grant = |description| ("invalid_grant", description);
    let account = &fake.account;
    let header = jsonwebtoken::decode_header(assertion)
        .map_err(|_| ("invalid_request", "Bad Request: the assertion is not a JWT"))?;
    // Without a `kid` Google tries all keys of the account.
    if header.kid.is_some_and(|kid| kid != account.key_id) {
        return Err(grant("Invalid JWT Signature."));
    }
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_audience(&[account.token_url.as_str(), GOOGLE_AUDIENCE]);
    rules.set_required_spec_claims(&["exp", "aud", "iss"]);
    // Times are checked below, against the fake's own clock.
    rules.validate_exp = false;
    rules.validate_nbf = false;
    let claims = jsonwebtoken::decode::<Claims>(assertion, &account.public_key, &rules)
        .map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidAudience => grant("Invalid JWT: Failed audience check."),
            _ => grant("Invalid JWT Signature."),
        })?
        .claims;
    if claims.iss != account.email {
        return Err(grant("Invalid grant: account not found"));
    }
    let now = now.timestamp();
    let in_time = claims.exp > now && claims.iat <= now + AHEAD_SECONDS_MAX;
    if !in_time || !(1..=LIFE_SECONDS_MAX).contains(&(claims.exp - claims.iat)) {
        return Err(grant(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat \
             and exp values in the JWT claim.",
        ));
    }
    if !claims.scope.split(' ').any(|scope| SCOPES.contains(&scope)) {
        return Err(("invalid_scope", "Invalid OAuth scope or ID token audience provided."));
    }
    Ok(())
}

fn refused(status: StatusCode, error: &str, description: &str) -> Response {
    pretty(status, &json!({"error": error, "error_description": description}))
}
