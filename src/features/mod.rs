//! What the product does, a folder each.

pub mod accounts;
pub mod devices;
#[cfg(test)]
mod fixture;
pub mod linking;
pub mod status;
