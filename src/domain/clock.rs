//! What time it is, as a parameter: production reads the system clock, tests move theirs.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

pub type Timestamp = DateTime<Utc>;

pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time, UTC, in whole microseconds: what Postgres stores comes back equal.
    fn now(&self) -> Timestamp;
}

pub type SharedClock = Arc<dyn Clock>;

pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        to_micros(Utc::now())
    }
}

/// A clock that stands still until a test moves it.
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(to_micros(now)))
    }

    pub fn advance(&self, by: Duration) {
        *self.0.lock() += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock()
    }
}

fn to_micros(time: Timestamp) -> Timestamp {
    DateTime::from_timestamp_micros(time.timestamp_micros())
        .expect("a time that chrono held in nanoseconds fits in microseconds")
}
