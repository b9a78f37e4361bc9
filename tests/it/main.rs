//! What only a whole cluster can show: real nodes, real stores, a real load balancer.

#![expect(clippy::unwrap_used, reason = "tests")]

mod balancers;
mod client;
mod clocks;
mod collector;
mod crashes;
mod delivery;
mod descriptors;
mod disk;
mod documents;
mod dropped;
mod examples;
mod faults;
mod javascript;
mod logs;
mod network;
mod notifications;
mod observability;
mod page;
mod presence;
mod proxy;
mod readme;
mod reconnect;
mod resume;
mod revocation;
mod rolling;
mod rooms;
mod secrets;
mod shape;
mod shared;
mod smoke;
mod socket;
mod stage;
mod stops;
mod stores;
mod systemd;
mod tls;
mod toolbox;
mod traces;
#[path = "../tree/mod.rs"]
mod tree;
mod uploads;
