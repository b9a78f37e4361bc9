//! What we need from outside, as traits: each with a real adapter, one in memory, and one contract
//! suite that both must pass.

pub mod blobs;
pub mod broker;
pub mod presence;
pub mod push;
pub mod redis;
pub mod throttle;
