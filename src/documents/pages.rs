//! `/docs` and `/redoc`: the document as a page, by Swagger UI and by `ReDoc`.
//!
//! Nothing comes from another server, and nothing is inline. Swagger UI is in the binary, from its crate. `ReDoc` is in
//! no crate that is kept up to date, so that a node is told where its bundle is.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};

use crate::edge::http::{ErrorCode, Problem};

/// Its own scripts and styles, the images that are in these, and this server.
const SWAGGER_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// As well, the two styles that `ReDoc` 2.5 puts into the page: an empty one that it fills by script, and a fixed one.
const REDOC_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' \
    'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='; img-src 'self' data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The one thing that `ReDoc` 2.5 would ask another server for; it takes the image away when it is none.
const REDOC_LOGO: &str = "https://cdn.redoc.ly/redoc/logo-mini.svg";

const HTML: &str = "text/html; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// The pages; `/redoc` only with the bundle.
pub fn routes(redoc: Option<String>) -> Router {
    let swagger = Router::new()
        .route("/docs", get(async || page(include_str!("assets/docs.html"), SWAGGER_POLICY)))
        .route("/docs/start.js", get(async || file(include_str!("assets/docs.js").into(), JS)))
        .route("/docs/swagger-ui.css", get(async || swagger_file("swagger-ui.css", CSS)))
        .route("/docs/swagger-ui-bundle.js", get(async || swagger_file("swagger-ui-bundle.js", JS)));
    let Some(bundle) = redoc else {
        return swagger.route("/redoc", get(async || no_redoc()));
    };
    let bundle = Bytes::from(bundle.replace(REDOC_LOGO, "data:,"));
    swagger
        .route("/redoc", get(async || page(include_str!("assets/redoc.html"), REDOC_POLICY)))
        .route("/redoc/style.css", get(async || file(include_str!("assets/redoc.css").into(), CSS)))
        .route("/redoc/start.js", get(async || file(include_str!("assets/redoc.js").into(), JS)))
        .route("/redoc/redoc.standalone.js", get(async move || file(bundle.clone(), JS)))
}

fn page(text: &'static str, policy: &'static str) -> Response {
    let headers = [(CONTENT_SECURITY_POLICY, policy), (REFERRER_POLICY, "no-referrer")];
    (headers, file(text.into(), HTML)).into_response()
}

/// A new build is seen at once.
fn file(content: Bytes, kind: &'static str) -> Response {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], content).into_response()
}

fn swagger_file(name: &str, kind: &'static str) -> Response {
    static CONFIG: LazyLock<Arc<utoipa_swagger_ui::Config<'static>>> = LazyLock::new(Arc::default);
    match utoipa_swagger_ui::serve(name, Arc::clone(&CONFIG)) {
        // The crate has it compressed only.
        Ok(Some(found)) => {
            let content = match found.bytes {
                Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                Cow::Owned(bytes) => bytes.into(),
            };
            ([(CONTENT_ENCODING, "gzip")], file(content, kind)).into_response()
        }
        _ => Problem::from(ErrorCode::NotFound).into_response(),
    }
}

fn no_redoc() -> Problem {
    Problem::new(ErrorCode::NotFound)
        .detail("This node has no ReDoc: `documents.redoc_bundle` does not name it. `/docs` shows the same.")
}
