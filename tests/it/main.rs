//! What only a whole cluster can show: real nodes, real stores, a real load balancer.

#![expect(clippy::unwrap_used, reason = "tests")]

mod client;
mod crashes;
mod delivery;
mod examples;
mod faults;
mod observability;
mod readme;
mod reconnect;
mod resume;
mod revocation;
mod rolling;
mod secrets;
mod shape;
mod shared;
mod socket;
mod stage;
mod stops;
mod stores;
