//! Refuses calls for a moment after one has failed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Open until a moment in time, counted in milliseconds since the first use.
#[derive(Default)]
pub struct Breaker {
    open_until: AtomicU64,
    epoch: OnceLock<Instant>,
}

impl Breaker {
    fn now(&self) -> u64 {
        let epoch = self.epoch.get_or_init(Instant::now);
        u64::try_from(epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub fn is_open(&self) -> bool {
        self.open_until.load(Ordering::Relaxed) > self.now()
    }

    pub fn record(&self, succeeded: bool, rest: Duration) {
        let rest = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX);
        let until = if succeeded { 0 } else { self.now().saturating_add(rest) };
        self.open_until.store(until, Ordering::Relaxed);
    }
}
