//! What the product does, a folder each.

pub mod accounts;
pub mod devices;
pub mod linking;
pub mod status;
