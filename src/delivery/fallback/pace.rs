//! How many pushes this node makes at once: as many as the push service bears.
//!
//! Each answer adds a little, each sign of trouble halves (AIMD, as TCP does it). Trouble again and again opens the
//! breaker: nothing is asked for a while, longer each time, and one push alone goes first afterwards.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// So many signs of trouble with no answer in between mean that the service is away.
const BREAKER_FAILURES: u32 = 5;
const PAUSE_FIRST: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// Pushes that failed together, with the one connection they shared, are one sign of trouble.
const ONE_SIGN: Duration = Duration::from_secs(1);

/// Cheap to clone; all clones share one count.
#[derive(Clone)]
pub struct Pace(Arc<Shared>);

struct Shared {
    max: usize,
    state: Mutex<State>,
    freed: Notify,
}

struct State {
    limit: f64,
    running: usize,
    failures: u32,
    pause: Duration,
    troubled_at: Option<Instant>,
}

/// The right to make one push; ends when it is dropped.
pub struct Permit(Pace);

impl Pace {
    #[must_use]
    pub fn new(max: usize) -> Self {
        let limit = f64::from(u32::try_from(max).unwrap_or(u32::MAX));
        let state = State { limit, running: 0, failures: 0, pause: PAUSE_FIRST, troubled_at: None };
        state.report();
        Self(Arc::new(Shared { max, state: Mutex::new(state), freed: Notify::new() }))
    }

    /// Waits until one more push may be made. Cancel-safe: takes nothing unless it returns.
    pub async fn permit(&self) -> Permit {
        loop {
            let freed = self.0.freed.notified();
            if let Some(permit) = self.try_permit() {
                return permit;
            }
            freed.await;
        }
    }

    #[must_use]
    pub fn try_permit(&self) -> Option<Permit> {
        let mut state = self.0.state.lock();
        if state.running >= state.allowed() {
            return None;
        }
        state.running += 1;
        drop(state);
        Some(Permit(self.clone()))
    }

    /// How many more may be made at this moment, but at least one: somebody has to find out.
    #[must_use]
    pub fn free(&self) -> usize {
        let state = self.0.state.lock();
        state.allowed().saturating_sub(state.running).max(1)
    }

    /// The service answered, whatever it said of this push.
    pub fn answered(&self) {
        let mut state = self.0.state.lock();
        state.failures = 0;
        state.pause = PAUSE_FIRST;
        let max = f64::from(u32::try_from(self.0.max).unwrap_or(u32::MAX));
        state.limit = (state.limit + 1.0 / state.limit).min(max);
        state.report();
        drop(state);
        self.0.freed.notify_one();
    }

    /// The service asks everybody to slow down.
    pub fn slow_down(&self, now: Instant) {
        let mut state = self.0.state.lock();
        if state.is_news(now) {
            state.halve();
        }
    }

    /// The service did not answer, or is in trouble. Returns how long to leave it alone, if it is away.
    pub fn failed(&self, now: Instant) -> Option<Duration> {
        let mut state = self.0.state.lock();
        if !state.is_news(now) {
            return None;
        }
        state.halve();
        state.failures += 1;
        if state.failures < BREAKER_FAILURES {
            return None;
        }
        let pause = state.pause;
        // The first failure after the pause opens it again.
        state.failures = BREAKER_FAILURES - 1;
        state.pause = (2 * pause).min(PAUSE_MAX);
        state.limit = 1.0;
        state.report();
        metrics::counter!("fanlight_push_breaker_opens_total").increment(1);
        Some(pause)
    }
}

impl State {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 1, at most `max`")]
    fn allowed(&self) -> usize {
        self.limit as usize
    }

    /// Whether this trouble is another one than the last.
    fn is_news(&mut self, now: Instant) -> bool {
        let known = self.troubled_at.is_some_and(|at| now.duration_since(at) < ONE_SIGN);
        if !known {
            self.troubled_at = Some(now);
        }
        !known
    }

    fn halve(&mut self) {
        self.limit = (self.limit / 2.0).max(1.0);
        self.report();
    }

    fn report(&self) {
        metrics::gauge!("fanlight_push_concurrency_limit").set(self.limit);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.state.lock().running -= 1;
        self.0.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_halves_the_pace_and_answers_bring_it_back() {
        let pace = Pace::new(8);
        let permits: Vec<Permit> = std::iter::from_fn(|| pace.try_permit()).collect();
        assert_eq!(permits.len(), 8);
        drop(permits);

        let now = Instant::now();
        pace.slow_down(now);
        pace.slow_down(now);
        assert_eq!(pace.free(), 4, "two complaints at once are one");
        pace.slow_down(now + ONE_SIGN);
        assert_eq!(pace.free(), 2);

        (0..3).for_each(|_| pace.answered());
        assert_eq!(pace.free(), 3);
        (0..100).for_each(|_| pace.answered());
        assert_eq!(pace.free(), 8);
    }

    #[test]
    fn a_service_that_is_away_is_left_alone_longer_and_longer_and_then_asked_by_one() {
        let pace = Pace::new(8);
        let now = Instant::now();
        assert!(
            (0..30).all(|_| pace.failed(now).is_none()),
            "one connection was lost, with all that was on it"
        );
        let later = (1..10).map(|second| now + second * ONE_SIGN);
        let pauses: Vec<u64> = later.filter_map(|at| pace.failed(at)).map(|pause| pause.as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        assert_eq!(pace.free(), 1);

        pace.answered();
        assert_eq!(pace.failed(now + 20 * ONE_SIGN), None, "it was back in between");
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_when_a_push_ends() {
        let pace = Pace::new(1);
        let first = pace.permit().await;
        let second = pace.permit();
        let ((), _second) = tokio::join!(async { drop(first) }, second);
        assert!(pace.try_permit().is_none());
    }
}
