//! The SQL of accounts. The service owns the transactions.

pub mod sessions;
pub mod users;
