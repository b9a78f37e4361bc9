//! `/dev/api`: what the page reads and asks for. In development only, and for this machine only.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State as Shared};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::{get, post};
use http::header::HOST;
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use tokio::sync::oneshot;

use super::nodes::{Action, Order};
use super::{Page, state};
use crate::dev::seed::Seeded;

pub fn routes(page: Arc<Page>) -> Router {
    Router::new()
        .route("/dev/api/seeded", get(seeded))
        .route("/dev/api/state", get(read_state))
        .route("/dev/api/nodes/{node}/{action}", post(act))
        .route("/dev/api/lines/{line}/{action}", post(work_line))
        .with_state(page)
}

/// It holds passwords and kills processes: other machines, and the pages of other sites, must not get at it.
pub async fn guard(request: Request, next: Next) -> Response {
    if is_ours(request.method(), request.headers()) {
        next.run(request).await
    } else {
        StatusCode::FORBIDDEN.into_response()
    }
}

fn is_ours(method: &Method, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(HOST.as_str()).unwrap_or_default();
    // Another name may be anybody's that leads here (DNS rebinding).
    let is_local = ["127.0.0.1", "localhost"].contains(&host.split(':').next().unwrap_or_default());
    let from_elsewhere = text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    is_local && (method == Method::GET || !from_elsewhere)
}

async fn seeded(Shared(page): Shared<Arc<Page>>) -> Json<Seeded> {
    Json(page.seeded.clone())
}

async fn read_state(Shared(page): Shared<Arc<Page>>) -> Json<state::State> {
    Json(state::read(&page).await)
}

async fn act(
    Shared(page): Shared<Arc<Page>>,
    Path((node, action)): Path<(String, Action)>,
) -> Result<StatusCode, (StatusCode, String)> {
    let busy = || (StatusCode::SERVICE_UNAVAILABLE, "the cluster does not answer".to_owned());
    let (done, doing) = oneshot::channel();
    page.orders.try_send(Order { node, action, done }).map_err(|_| busy())?;
    match doing.await {
        Ok(Ok(())) => Ok(StatusCode::NO_CONTENT),
        Ok(Err(error)) => Err((StatusCode::CONFLICT, format!("{error:#}"))),
        Err(_) => Err(busy()),
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LineAction {
    Cut,
    Freeze,
    Thaw,
}

async fn work_line(
    Shared(page): Shared<Arc<Page>>,
    Path((name, action)): Path<(String, LineAction)>,
) -> StatusCode {
    let Some(line) = page.lines.iter().find(|line| line.name == name) else { return StatusCode::NOT_FOUND };
    match action {
        LineAction::Cut => line.cut(),
        LineAction::Freeze => line.set_frozen(true),
        LineAction::Thaw => line.set_frozen(false),
    }
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_this_machine_and_this_page_get_in() {
        let ours = |method: Method, headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| {
                (name.parse::<http::HeaderName>().unwrap(), HeaderValue::from_static(value))
            });
            is_ours(&method, &headers.collect())
        };
        assert!(ours(Method::GET, &[("host", "127.0.0.1:8080")]));
        assert!(ours(Method::POST, &[("host", "localhost:8080"), ("sec-fetch-site", "same-origin")]));
        assert!(!ours(Method::GET, &[("host", "fanlight.example:8080")]));
        assert!(!ours(Method::GET, &[]));
        assert!(!ours(Method::POST, &[("host", "127.0.0.1:8080"), ("sec-fetch-site", "cross-site")]));
        assert!(!ours(Method::POST, &[("host", "localhost:8080"), ("sec-fetch-site", "same-site")]));
    }
}
