//! Counts in this process: for tests, for a single node, and for when Redis is away.
//!
//! Holds a bounded number of keys. When they are used up, those that were hit longest ago are forgotten:
//! an attacker who fills the table loosens the limits of old keys, and nobody is locked out by it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Limit, Throttle, ThrottleError, Verdict};
use crate::domain::clock::{SharedClock, Timestamp};

pub struct MemoryThrottle {
    clock: SharedClock,
    keys_max: usize,
    keys: Mutex<HashMap<String, Hits>>,
}

struct Hits {
    times: VecDeque<Timestamp>,
    /// When the last of them no longer counts.
    void_at: Timestamp,
}

impl MemoryThrottle {
    #[must_use]
    pub fn new(clock: SharedClock, keys_max: usize) -> Self {
        Self { clock, keys_max: keys_max.max(1), keys: Mutex::default() }
    }

    fn ask(&self, key: &str, limit: Limit, count: bool) -> Verdict {
        let now = self.clock.now();
        let mut keys = self.keys.lock();
        if let Some(hits) = keys.get_mut(key) {
            hits.forget_before(now - limit.window);
            if let Some(retry_after) = hits.wait(now, limit) {
                return Verdict::Refused { retry_after };
            }
        } else if limit.max == 0 {
            return Verdict::Refused { retry_after: limit.window };
        }
        if count {
            if !keys.contains_key(key) {
                make_room(&mut keys, self.keys_max, now);
            }
            let hits = keys
                .entry(key.to_owned())
                .or_insert_with(|| Hits { times: VecDeque::with_capacity(1), void_at: now });
            hits.times.push_back(now);
            hits.void_at = now + limit.window;
        }
        Verdict::Allowed
    }
}

impl Hits {
    fn forget_before(&mut self, time: Timestamp) {
        while self.times.front().is_some_and(|hit| *hit <= time) {
            self.times.pop_front();
        }
    }

    /// How long until the limit has room; `None`: it has.
    fn wait(&self, now: Timestamp, limit: Limit) -> Option<Duration> {
        let over = self.times.len().checked_sub(limit.max as usize)?;
        // None only where the limit is 0: such a hit is never allowed.
        let makes_room = self.times.get(over).copied().unwrap_or(now) + limit.window;
        Some((makes_room - now).to_std().unwrap_or_default())
    }
}

/// Makes sure that one more key fits. Frees many at once, so that a full table is not searched on each hit.
fn make_room(keys: &mut HashMap<String, Hits>, keys_max: usize, now: Timestamp) {
    if keys.len() < keys_max {
        return;
    }
    keys.retain(|_, hits| hits.void_at > now);
    if keys.len() < keys_max {
        return;
    }
    metrics::counter!("fanlight_throttle_keys_evicted_total").increment((keys.len() / 2) as u64 + 1);
    let mut void_at: Vec<Timestamp> = keys.values().map(|hits| hits.void_at).collect();
    let middle = void_at.len() / 2;
    let (_, median, _) = void_at.select_nth_unstable(middle);
    let median = *median;
    keys.retain(|_, hits| hits.void_at > median);
}

#[async_trait]
impl Throttle for MemoryThrottle {
    async fn hit(&self, key: &str, limit: Limit) -> Result<Verdict, ThrottleError> {
        Ok(self.ask(key, limit, true))
    }

    async fn check(&self, key: &str, limit: Limit) -> Result<Verdict, ThrottleError> {
        Ok(self.ask(key, limit, false))
    }

    async fn reset(&self, key: &str) -> Result<(), ThrottleError> {
        self.keys.lock().remove(key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;

    use super::*;
    use crate::domain::clock::ManualClock;

    const ONE_A_MINUTE: Limit = Limit { max: 1, window: Duration::from_mins(1) };

    #[tokio::test]
    async fn a_flood_of_keys_does_not_grow_the_table_and_drops_the_oldest_first() {
        let clock = Arc::new(ManualClock::at(DateTime::UNIX_EPOCH));
        let throttle = MemoryThrottle::new(clock.clone(), 100);
        for number in 0..1_000 {
            clock.advance(Duration::from_millis(1));
            throttle.hit(&number.to_string(), ONE_A_MINUTE).await.unwrap();
        }
        assert!(throttle.keys.lock().len() <= 100);
        assert_ne!(throttle.check("999", ONE_A_MINUTE).await.unwrap(), Verdict::Allowed);
        assert_eq!(throttle.check("0", ONE_A_MINUTE).await.unwrap(), Verdict::Allowed);
    }
}
