//! What people see of a cluster who operate it: metrics, dashboards, alerts.

mod catalogue;
mod dashboards;
pub mod files;
mod live;
mod prometheus;
mod rules;
mod spans;
