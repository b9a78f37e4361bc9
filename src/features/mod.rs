//! What the product does, a folder each.

use utoipa::openapi::OpenApi;

use crate::delivery::described::Described;

pub mod accounts;
pub mod devices;
#[cfg(test)]
mod fixture;
pub mod linking;
pub mod status;

/// What all routes are, for the API document.
#[must_use]
pub fn openapi() -> OpenApi {
    let mut all = accounts::openapi();
    for part in [linking::openapi(), status::openapi(), devices::openapi()] {
        all.merge(part);
    }
    all
}

/// Every kind of event. A feature's list is visible only here: the compiler says which one nobody asks for.
#[must_use]
pub fn events() -> Vec<Described> {
    [linking::events(), status::events()].concat()
}
