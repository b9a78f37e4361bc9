//! What the product does, a folder each.

use utoipa::openapi::OpenApi;

use crate::delivery::described::{Described, DescribedRoomEvent};

pub mod accounts;
mod batches;
pub mod channels;
pub mod devices;
#[cfg(test)]
mod fixture;
pub mod linking;
pub mod messages;
pub mod notifications;
pub mod presence;
pub mod rooms;
pub mod status;
pub mod uploads;

/// What all routes are, for the API document.
#[must_use]
pub fn openapi() -> OpenApi {
    let mut all = accounts::openapi();
    let parts = [
        linking::openapi(),
        status::openapi(),
        devices::openapi(),
        channels::openapi(),
        messages::openapi(),
        uploads::openapi(),
        notifications::openapi(),
        presence::openapi(),
    ];
    for part in parts {
        all.merge(part);
    }
    all
}

/// Every kind of event. A feature's list is visible only here: the compiler says which one nobody asks for.
#[must_use]
pub fn events() -> Vec<Described> {
    [linking::events(), status::events(), channels::events(), messages::events(), notifications::events()]
        .concat()
}

/// Everything that rooms are told.
#[must_use]
pub fn room_events() -> Vec<DescribedRoomEvent> {
    messages::room_events()
}
