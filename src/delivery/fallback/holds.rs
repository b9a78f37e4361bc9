//! When the push service tells all of us to wait, and how long one push waits after a failure.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::delivery::config::PushConfig;
use crate::domain::random;
use crate::ports::push::Platform;

/// Until when pushes are held back on this node: all of them, or those of one platform.
#[derive(Default)]
pub struct Holds(Mutex<Vec<(Option<Platform>, Instant)>>);

impl Holds {
    /// Holds `platform`, or everything, for this long.
    pub fn hold(&self, platform: Option<Platform>, length: Duration, reason: &'static str) {
        let scope = platform.map_or("all", Platform::as_str);
        metrics::counter!("fanlight_push_holds_total", "scope" => scope, "reason" => reason).increment(1);
        let until = Instant::now() + length;
        let mut holds = self.0.lock();
        match holds.iter_mut().find(|(held, _)| *held == platform) {
            Some((_, existing)) => *existing = until.max(*existing),
            None => holds.push((platform, until)),
        }
    }

    /// How much longer pushes to this platform must wait, if they must.
    pub fn remaining(&self, platform: Platform) -> Option<Duration> {
        let now = Instant::now();
        let mut holds = self.0.lock();
        holds.retain(|(_, until)| *until > now);
        holds
            .iter()
            .filter(|(held, _)| held.is_none_or(|held| held == platform))
            .map(|(_, until)| until.duration_since(now))
            .max()
    }
}

/// How long to wait after the `attempts`-th failure: at least the first bound (FCM asks for ten seconds and
/// more after an internal error), at most a bound that doubles, and at random in between.
pub fn backoff(attempts: u32, config: &PushConfig) -> Duration {
    let first = Duration::from_millis(config.backoff_first_ms);
    let bound = first
        .saturating_mul(2_u32.saturating_pow(attempts.min(16)))
        .min(Duration::from_millis(config.backoff_max_ms));
    first + random::jitter(bound.saturating_sub(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platforms_hold_leaves_the_others_alone() {
        let holds = Holds::default();
        holds.hold(Some(Platform::Ios), Duration::from_secs(60), "third_party_auth");
        assert!(holds.remaining(Platform::Ios).is_some());
        assert_eq!(holds.remaining(Platform::Android), None);
        holds.hold(None, Duration::from_secs(60), "quota_exceeded");
        assert!(holds.remaining(Platform::Android).is_some());
    }

    #[test]
    fn backoff_grows_and_stays_below_its_bound() {
        let config = PushConfig {
            concurrency: 1,
            queue_events: 1,
            backoff_first_ms: 10_000,
            backoff_max_ms: 600_000,
            give_up_minutes: 60,
            coalesce_window_ms: 3_000,
        };
        for attempts in 0..40 {
            let wait = backoff(attempts, &config);
            assert!(wait >= Duration::from_secs(10) && wait <= Duration::from_secs(600), "{wait:?}");
        }
    }
}
