//! What a developer and the tests need around a node, so that nothing has to be installed or signed up for.

pub mod fcm;
