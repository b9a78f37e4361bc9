//! What the API is, for programs and for people: `OpenAPI` for HTTP, `AsyncAPI` for the socket and the pushes, and
//! pages that show them without asking any other server.
//!
//! Both documents are made from the types and routes that the node runs with, so that they cannot lag behind.

use std::path::PathBuf;

use anyhow::Context as _;
use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::get;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Deserialize;

pub mod asyncapi;
pub mod openapi;
mod pages;

/// How much of this the public listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Serve {
    /// The documents, and the pages that show them.
    Pages,
    /// Only the documents.
    Json,
    None,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub serve: Serve,
    /// `redoc.standalone.js`; without it, `/redoc` says where to get it.
    pub redoc_bundle: Option<PathBuf>,
}

/// `/openapi.json`, `/asyncapi.json`, `/docs` and `/redoc`, as far as the settings allow. `served` is what the routes
/// of this very node are.
///
/// # Errors
/// When the bundle of `ReDoc` cannot be read.
pub fn routes(config: &Config, served: utoipa::openapi::OpenApi) -> anyhow::Result<Router> {
    let documents = || {
        let openapi = openapi::complete(served).to_json().expect("the document is a plain tree");
        // Made once: anybody may ask for them, as often as they like.
        let (openapi, asyncapi) = (Bytes::from(openapi), Bytes::from(asyncapi::document().to_string()));
        Router::new()
            .route("/openapi.json", get(async move || json(openapi.clone())))
            .route("/asyncapi.json", get(async move || json(asyncapi.clone())))
    };
    match config.serve {
        Serve::None => Ok(Router::new()),
        Serve::Json => Ok(documents()),
        Serve::Pages => {
            let bundle = config.redoc_bundle.as_ref();
            let bundle = bundle.map(std::fs::read_to_string).transpose();
            Ok(documents().merge(pages::routes(bundle.context("documents.redoc_bundle cannot be read")?)))
        }
    }
}

fn json(text: Bytes) -> axum::response::Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], text).into_response()
}
