//! What happens around every request: its deadline, its metrics, and what is said when no handler answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method};
use tower_http::catch_panic::CatchPanicLayer;

use crate::edge::auth::Authenticator;
use crate::edge::http::problem::{ErrorCode, Problem};
use crate::edge::http::server::Config;
use crate::telemetry::traces::Span;

/// Puts the conventions of our API around the routes of the features. Those that are `unhurried` bound by themselves how
/// long a request may be and take.
pub fn wrap(routes: Router, unhurried: Router, authenticator: Arc<Authenticator>, config: &Config) -> Router {
    let deadline = Duration::from_millis(config.request_timeout_ms);
    routes
        .layer(DefaultBodyLimit::max(config.body_bytes_max))
        .layer(from_fn_with_state(deadline, answer_in_time))
        .merge(unhurried)
        .fallback(async || Problem::from(ErrorCode::NotFound))
        .method_not_allowed_fallback(async || Problem::from(ErrorCode::MethodNotAllowed))
        .layer(CatchPanicLayer::custom(|_| Problem::from(ErrorCode::Internal).into_response()))
        .layer(from_fn(observe))
        .layer(Extension(authenticator))
}

async fn answer_in_time(State(deadline): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable().detail("The request took too long").into_response(),
    }
}

/// Counts and times requests by route, never by path, and sets the headers that every answer has.
async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.map_or_else(|| "none".to_owned(), |route| route.as_str().to_owned());
    let mut span = Span::of_request(request.headers(), || format!("{method} {route}"))
        .with("http.request.method", || method)
        .with("http.route", || route.clone());
    let mut response = span.carry(next.run(request)).await;
    let status = response.status().as_u16();
    span.set("http.response.status_code", || i64::from(status));
    if response.status().is_server_error() {
        span.fail("the request failed");
    }
    let status = status.to_string();
    metrics::counter!("fanlight_http_requests_total", "method" => method, "route" => route.clone(), "status" => status)
        .increment(1);
    metrics::histogram!("fanlight_http_request_duration_seconds", "method" => method, "route" => route)
        .record(started.elapsed());
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Clients may invent methods; labels must not.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
