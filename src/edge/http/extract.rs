//! What a handler takes from a request, with every refusal as a [`Problem`].

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use garde::Validate;
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::edge::auth::Authenticator;
use crate::edge::http::problem::{ErrorCode, Problem};
use crate::failpoint;

/// Who makes the request, proven by an access token in `Authorization` or in the session cookie.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    pub user: UserId,
    pub session: SessionId,
    pub expires_at: Timestamp,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let authenticator = parts
            .extensions
            .get::<Arc<Authenticator>>()
            .expect("the server puts the authenticator into every request");
        let caller = authenticator.caller(&parts.headers, &parts.method)?;
        failpoint!("authenticated");
        Ok(caller)
    }
}

/// A JSON body, parsed and validated; as a response, a JSON body.
pub struct Json<T>(pub T);

impl<S, T> FromRequest<S> for Json<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Validate<Context = ()>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        // In two steps: serde_json calls `null` in place of an enum a syntax error, and it is none.
        let axum::Json(json) =
            axum::Json::<Box<RawValue>>::from_request(request, state).await.map_err(refuse_json)?;
        // serde would take an array as the fields of a struct, in their order: no contract says so.
        if !json.get().starts_with('{') {
            return Err(Problem::new(ErrorCode::InvalidBody).detail("the body must be a JSON object"));
        }
        let value: T = serde_json::from_str(json.get())
            .map_err(|error| Problem::new(ErrorCode::InvalidBody).detail(error.to_string()))?;
        value.validate().map_err(|report| Problem::new(ErrorCode::InvalidBody).detail(one_line(&report)))?;
        Ok(Self(value))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

fn refuse_json(rejection: JsonRejection) -> Problem {
    match rejection {
        JsonRejection::JsonSyntaxError(error) => {
            Problem::new(ErrorCode::MalformedBody).detail(error.body_text())
        }
        JsonRejection::MissingJsonContentType(_) => ErrorCode::UnsupportedMediaType.into(),
        other if other.status() == http::StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::BodyTooLarge.into(),
        other => Problem::new(ErrorCode::MalformedBody).detail(other.body_text()),
    }
}

fn one_line(report: &garde::Report) -> String {
    let fields: Vec<String> = report.iter().map(|(path, error)| format!("{path}: {error}")).collect();
    fields.join("; ")
}

/// A path parameter. One that cannot be parsed names nothing: 404.
pub struct Path<T>(pub T);

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::<T>::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|_: PathRejection| ErrorCode::NotFound.into())
    }
}

/// Query parameters: 400 when they cannot be parsed.
pub struct Query<T>(pub T);

impl<S, T> FromRequestParts<S> for Query<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Query::<T>::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|error: QueryRejection| Problem::new(ErrorCode::BadParameter).detail(error.body_text()))
    }
}

/// The client's address: the peer's, or what a trusted proxy says it is.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub IpAddr);

impl<S: Sync> FromRequestParts<S> for PeerAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(*parts.extensions.get::<Self>().expect("the server puts the peer's address into every request"))
    }
}

/// What the client calls its command, in `Idempotency-Key`: the same one again is done once. 400 when it is no key.
pub struct IdempotencyKey(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        const BYTES_MAX: usize = 128;
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(Self(None)) };
        let key = value.as_bytes();
        if !(1..=BYTES_MAX).contains(&key.len()) || !key.iter().all(u8::is_ascii_graphic) {
            let rule = format!("Idempotency-Key: 1..{BYTES_MAX} visible ASCII characters, without spaces");
            return Err(Problem::new(ErrorCode::BadParameter).detail(rule));
        }
        Ok(Self(Some(String::from_utf8_lossy(key).into_owned())))
    }
}

/// The language the client prefers: the first tag of `Accept-Language`, or `en`.
#[derive(Clone, Debug)]
pub struct Locale(pub String);

impl<S: Sync> FromRequestParts<S> for Locale {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let preferred = parts
            .headers
            .get(http::header::ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok())
            .and_then(preferred_language)
            .unwrap_or("en");
        Ok(Self(preferred.to_owned()))
    }
}

/// The tag with the highest weight (RFC 9110 §12.5.4); the first of equals.
fn preferred_language(header: &str) -> Option<&str> {
    const TAG_BYTES_MAX: usize = 35; // RFC 5646 §4.4.1
    let weighted = header.split(',').filter_map(|item| {
        let mut parts = item.split(';').map(str::trim);
        let tag = parts.next().filter(|tag| {
            !tag.is_empty()
                && tag.len() <= TAG_BYTES_MAX
                && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })?;
        let weight = parts
            .find_map(|part| part.strip_prefix("q="))
            .map_or(Some(1.0), |weight| weight.parse::<f32>().ok())?;
        (weight > 0.0).then_some((tag, weight))
    });
    weighted
        .fold(None, |best: Option<(&str, f32)>, next| match best {
            Some(best) if best.1 >= next.1 => Some(best),
            _ => Some(next),
        })
        .map(|(tag, _)| tag)
}

#[cfg(test)]
mod tests {
    use super::preferred_language;

    #[test]
    fn the_heaviest_language_wins_and_the_first_of_equals() {
        assert_eq!(preferred_language("da, en;q=0.8"), Some("da"));
        assert_eq!(preferred_language("en;q=0.3, vi;q=0.9, es;q=0.9"), Some("vi"));
        assert_eq!(preferred_language("*;q=0.5, es;q=0"), None);
        assert_eq!(preferred_language("../../etc;q=1, da;q=0.1"), Some("da"));
    }
}
