//! `/messages` and what is below it, and how far one has read a channel.

use std::sync::Arc;

use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::features::messages::service::Service;

mod finding;
mod messages;
mod reactions;
mod reading;

/// Every route of this feature.
pub fn routes(service: Arc<Service>) -> OpenApiRouter {
    all().with_state(service)
}

/// What the routes are, for the API document.
pub fn openapi() -> OpenApi {
    all().into_openapi()
}

fn all() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(messages::send))
        .routes(routes!(messages::show, messages::edit, messages::delete))
        .routes(routes!(finding::page))
        .routes(routes!(finding::thread))
        .routes(routes!(finding::search))
        .routes(routes!(reactions::react, reactions::take_back))
        .routes(routes!(reading::mark, reading::marker))
}
