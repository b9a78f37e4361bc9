//! What the Redis broker does when Redis forgets, restarts, hangs or throws it out.

use std::time::{Duration, Instant};

use super::contract::{envelope, redis, route_one, until};
use super::{Incoming, Reach};
use crate::dev::process::Signal;
use crate::dev::redis::Redis;
use crate::dev::state::StateDir;
use crate::dev::testing::redis_url;
use crate::domain::ids::UserId;
use crate::ports::redis::{Config, RedisLink};

fn link(url: &str, change: impl FnOnce(&mut Config)) -> RedisLink {
    let prefix = uuid::Uuid::now_v7().to_string();
    let mut config = RedisLink::for_test(url, &prefix).config().clone();
    change(&mut config);
    RedisLink::new(config).unwrap()
}

/// A Redis of its own, for what the other tests' Redis must not suffer.
async fn private_redis() -> (Redis, StateDir) {
    let state = StateDir::scratch().unwrap();
    (Redis::start(&state, None).await.unwrap(), state)
}

async fn command(link: &RedisLink, words: &[&str]) {
    let mut connection = link.client().get_multiplexed_async_connection().await.unwrap();
    let (name, arguments) = words.split_first().unwrap();
    ::redis::cmd(name).arg(arguments).query_async::<()>(&mut connection).await.unwrap();
}

#[tokio::test]
async fn nobody_is_not_believed_of_a_redis_that_was_just_born() {
    let young = link(&redis_url().await, |config| config.warmup_ms = 600_000);
    let old = RedisLink::new(Config { warmup_ms: 0, ..young.config().clone() }).unwrap();
    let unborn = super::RedisBroker::new(old.clone(), crate::domain::ids::NodeId::generate());
    let stranger = envelope(UserId::generate(), 1);
    assert_eq!(route_one(&unborn, &stranger).await, Reach::Unknown, "no node has been seen yet");

    let backend = redis(&young);
    let [caller, owner] = [backend.node().await, backend.node().await];
    assert_eq!(route_one(&*caller.broker, &stranger).await, Reach::Unknown);
    let user = UserId::generate();
    owner.connect(user).await;
    assert_eq!(route_one(&*caller.broker, &envelope(user, 1)).await, Reach::Nodes(1));
    assert_eq!(route_one(&unborn, &stranger).await, Reach::Nobody, "as if the time had passed");
}

#[tokio::test]
async fn a_lost_subscription_comes_back_and_says_so() {
    let (server, _state) = private_redis().await;
    let link = link(&server.url(), |_| {});
    let backend = redis(&link);
    let [caller, mut owner] = [backend.node().await, backend.node().await];
    let user = UserId::generate();
    owner.connect(user).await;
    command(&link, &["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    assert_eq!(owner.next().await, Incoming::Subscribed);
    let event = envelope(user, 1);
    assert_eq!(route_one(&*caller.broker, &event).await, Reach::Nodes(1));
    assert_eq!(owner.next().await, Incoming::Deliver(event));
    owner.broker.probe().await.unwrap();
}

#[tokio::test]
async fn a_redis_that_forgot_the_script_is_told_again() {
    let (server, _state) = private_redis().await;
    let link = link(&server.url(), |_| {});
    let backend = redis(&link);
    let [caller, mut owner] = [backend.node().await, backend.node().await];
    let user = UserId::generate();
    owner.connect(user).await;
    for seq in [1, 3] {
        command(&link, &["SCRIPT", "FLUSH"]).await;
        let batch = [envelope(user, seq), envelope(user, seq + 1)];
        assert_eq!(caller.broker.route(&batch).await.unwrap(), [Reach::Nodes(1); 2]);
        for event in batch {
            assert_eq!(owner.next().await, Incoming::Deliver(event));
        }
    }
    command(&link, &["SCRIPT", "FLUSH"]).await;
    backend.presence.renew_lease(owner.id).await.unwrap();
}

#[tokio::test]
async fn a_redis_that_restarts_is_found_again() {
    let (mut server, _state) = private_redis().await;
    let backend = redis(&link(&server.url(), |_| {}));
    let [caller, mut owner] = [backend.node().await, backend.node().await];
    let user = UserId::generate();
    owner.connect(user).await;
    server.restart().await.unwrap();
    assert_eq!(owner.next().await, Incoming::Subscribed);
    until(async || backend.presence.renew_lease(owner.id).await.is_ok()).await;
    assert_eq!(route_one(&*caller.broker, &envelope(user, 1)).await, Reach::Nobody, "it forgot everything");
    owner.connect(user).await;
    assert_eq!(route_one(&*caller.broker, &envelope(user, 2)).await, Reach::Nodes(1));
}

#[tokio::test]
async fn a_redis_that_hangs_costs_one_deadline_and_then_nothing() {
    let (mut server, _state) = private_redis().await;
    let link = link(&server.url(), |config| {
        config.command_timeout_ms = 300;
        config.connect_timeout_ms = 1_000;
        config.breaker_ms = 600_000;
    });
    let backend = redis(&link);
    let mut node = backend.node().await;
    let event = envelope(UserId::generate(), 1);
    assert_eq!(route_one(&*node.broker, &event).await, Reach::Nobody);

    server.process.signal(Signal::Stop).unwrap();
    let started = Instant::now();
    let refused = node.broker.route(std::slice::from_ref(&event)).await.unwrap_err();
    assert!(refused.to_string().contains("deadline"), "{refused}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    for _ in 0..1_000 {
        let refused = node.broker.route(std::slice::from_ref(&event)).await.unwrap_err();
        assert!(refused.to_string().contains("a moment ago"), "{refused}");
    }
    // Two probes that do not come back: the subscription is taken for dead.
    for _ in 0..2 {
        node.broker.probe().await.unwrap_err();
    }

    server.process.signal(Signal::Cont).unwrap();
    assert_eq!(node.next().await, Incoming::Subscribed);
    // A renewed lease closes the breaker.
    until(async || backend.presence.renew_lease(node.id).await.is_ok()).await;
    assert_eq!(route_one(&*node.broker, &event).await, Reach::Nobody);
    node.broker.probe().await.unwrap();
}
