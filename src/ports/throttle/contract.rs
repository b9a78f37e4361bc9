//! What every throttle must do, asked of each adapter.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};

use super::{FallbackThrottle, Limit, MemoryThrottle, RedisThrottle, Throttle, Verdict};
use crate::domain::clock::{Clock as _, ManualClock, SystemClock};
use crate::ports::redis::{self, RedisLink};

const LIMIT: Limit = Limit { max: 3, window: Duration::from_millis(400) };

/// Lets time pass for the adapter: moves its clock, or waits where the clock is a server's.
type Pass = Box<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

async fn suite(throttle: Arc<dyn Throttle>, pass: Pass) {
    of_parallel_hits_exactly_the_limit_are_allowed(&throttle).await;
    a_refused_hit_is_allowed_after_the_time_it_was_told(&throttle, &pass).await;
    a_check_counts_nothing(&throttle).await;
    a_reset_forgets_one_key_alone(&throttle).await;
    a_limit_of_zero_allows_nothing(&throttle).await;
}

async fn of_parallel_hits_exactly_the_limit_are_allowed(throttle: &Arc<dyn Throttle>) {
    let limit = Limit { max: 10, window: Duration::from_mins(1) };
    let verdicts = join_all((0..50).map(|_| throttle.hit("parallel", limit))).await;
    let allowed = verdicts.iter().filter(|verdict| matches!(verdict, Ok(Verdict::Allowed))).count();
    assert_eq!(allowed, 10);
}

async fn a_refused_hit_is_allowed_after_the_time_it_was_told(throttle: &Arc<dyn Throttle>, pass: &Pass) {
    for _ in 0..LIMIT.max {
        assert_eq!(throttle.hit("window", LIMIT).await.unwrap(), Verdict::Allowed);
    }
    let Verdict::Refused { retry_after } = throttle.hit("window", LIMIT).await.unwrap() else {
        panic!("a hit over the limit was allowed")
    };
    assert!(!retry_after.is_zero() && retry_after <= LIMIT.window, "{retry_after:?}");
    pass(retry_after).await;
    assert_eq!(throttle.hit("window", LIMIT).await.unwrap(), Verdict::Allowed);
}

async fn a_check_counts_nothing(throttle: &Arc<dyn Throttle>) {
    let limit = Limit { max: 1, window: Duration::from_mins(1) };
    for _ in 0..5 {
        assert_eq!(throttle.check("check", limit).await.unwrap(), Verdict::Allowed);
    }
    throttle.hit("check", limit).await.unwrap();
    assert!(matches!(throttle.check("check", limit).await.unwrap(), Verdict::Refused { .. }));
}

async fn a_reset_forgets_one_key_alone(throttle: &Arc<dyn Throttle>) {
    let limit = Limit { max: 1, window: Duration::from_mins(1) };
    for key in ["reset", "kept"] {
        throttle.hit(key, limit).await.unwrap();
    }
    throttle.reset("reset").await.unwrap();
    assert_eq!(throttle.hit("reset", limit).await.unwrap(), Verdict::Allowed);
    assert!(matches!(throttle.hit("kept", limit).await.unwrap(), Verdict::Refused { .. }));
}

async fn a_limit_of_zero_allows_nothing(throttle: &Arc<dyn Throttle>) {
    let never = Limit { max: 0, window: Duration::from_mins(1) };
    assert!(matches!(throttle.hit("never", never).await.unwrap(), Verdict::Refused { .. }));
}

fn memory() -> (Arc<ManualClock>, Arc<MemoryThrottle>) {
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    (clock.clone(), Arc::new(MemoryThrottle::new(clock, 1_000)))
}

/// A throttle with keys of its own in the Redis at `url`.
pub fn redis(url: &str, key_prefix: &str) -> RedisThrottle {
    let settings = redis::Config {
        url: url.into(),
        ca: None,
        ca_file: None,
        sentinels: Vec::new(),
        sentinel_master: String::new(),
        key_prefix: key_prefix.to_owned(),
        command_timeout_ms: 5_000,
        connect_timeout_ms: 5_000,
        breaker_ms: 500,
        lease_ms: 5_000,
        warmup_ms: 0,
    };
    RedisThrottle::new(RedisLink::new(settings).unwrap())
}

/// A Redis that is away: port 1 is reserved (RFC 6335), nothing listens there.
pub const AWAY: &str = "redis://127.0.0.1:1";

fn unique_prefix() -> String {
    uuid::Uuid::now_v7().to_string()
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let (clock, throttle) = memory();
    let pass = move |time| -> BoxFuture<'static, ()> {
        clock.advance(time);
        Box::pin(async {})
    };
    suite(throttle, Box::new(pass)).await;
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let throttle = redis(&crate::dev::testing::redis_url().await, &unique_prefix());
    suite(Arc::new(throttle), Box::new(|time| Box::pin(tokio::time::sleep(time)))).await;
}

#[tokio::test]
async fn nodes_that_share_a_redis_share_the_limits() {
    let (url, prefix) = (crate::dev::testing::redis_url().await, unique_prefix());
    let [one, other] = [(), ()].map(|()| redis(&url, &prefix));
    let limit = Limit { max: 2, window: Duration::from_mins(1) };
    assert_eq!(one.hit("shared", limit).await.unwrap(), Verdict::Allowed);
    assert_eq!(other.hit("shared", limit).await.unwrap(), Verdict::Allowed);
    assert!(matches!(one.hit("shared", limit).await.unwrap(), Verdict::Refused { .. }));
    assert!(matches!(other.hit("shared", limit).await.unwrap(), Verdict::Refused { .. }));
}

#[tokio::test]
async fn without_redis_the_limits_hold_on_this_node() {
    let shared = Arc::new(redis(AWAY, ""));
    let (_, local) = memory();
    let throttle = FallbackThrottle { shared, local };
    for _ in 0..LIMIT.max {
        assert_eq!(throttle.hit("account", LIMIT).await.unwrap(), Verdict::Allowed);
    }
    assert!(matches!(throttle.hit("account", LIMIT).await.unwrap(), Verdict::Refused { .. }));
    assert!(matches!(throttle.check("account", LIMIT).await.unwrap(), Verdict::Refused { .. }));
    throttle.reset("account").await.unwrap();
    assert_eq!(throttle.hit("account", LIMIT).await.unwrap(), Verdict::Allowed);
}
