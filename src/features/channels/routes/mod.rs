//! `/channels` and what is below it.

use std::sync::Arc;

use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::features::channels::service::Service;

mod channels;
mod members;

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
        .routes(routes!(channels::create, channels::list))
        .routes(routes!(channels::show, channels::update, channels::delete))
        .routes(routes!(members::add, members::list))
        .routes(routes!(members::appoint, members::remove))
        .routes(routes!(members::join))
}
