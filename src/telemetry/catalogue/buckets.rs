//! The bounds of histogram buckets, in seconds: where a decision is made, and no more.

/// A query, a command, a request.
pub(super) const CALL: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// From a commit to a socket or to a phone: from a millisecond to the deadline of a receipt, and to an outage.
pub(super) const DELIVERY: &[f64] =
    &[0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0, 3_600.0];

/// The life of a connection.
pub(super) const LIFE: &[f64] = &[1.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0];
