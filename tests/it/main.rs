//! What only a whole cluster can show: real nodes, real stores, a real load balancer.

#![expect(clippy::unwrap_used, reason = "tests")]

mod client;
mod delivery;
mod examples;
mod faults;
mod readme;
mod resume;
mod shape;
mod shared;
mod socket;
mod stage;
mod stops;
mod stores;
