//! What the Redis broker does when Redis forgets, restarts, hangs or throws it out.

use std::time::{Duration, Instant};

use super::contract::{envelope, redis, route_one, said, until};
use super::{Incoming, Reach};
use crate::dev::process::Signal;
use crate::dev::redis::Redis;
use crate::dev::state::StateDir;
use crate::dev::testing::redis_url;
use crate::domain::ids::{ChannelId, UserId};
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
    let mut connection = crate::dev::redis::connect(&link.client()).await.unwrap();
    let (name, arguments) = words.split_first().unwrap();
    ::redis::cmd(name).arg(arguments).query_async::<()>(&mut connection).await.unwrap();
}

#[tokio::test]
async fn nobody_is_not_believed_of_a_redis_that_was_just_born() {
    let young = link(&redis_url().await, |config| config.warmup_ms = 600_000);
    let old = RedisLink::new(Config { warmup_ms: 1, ..young.config().clone() }).unwrap();
    let unborn = super::RedisBroker::new(old.clone(), crate::domain::ids::NodeId::generate());
    let stranger = envelope(UserId::generate(), 1);
    assert_eq!(route_one(&unborn, &stranger).await, Reach::Unknown, "no node has been seen yet");

    let backend = redis(&young);
    let [caller, owner] = [backend.node().await, backend.node().await];
    assert_eq!(route_one(&*caller.broker, &stranger).await, Reach::Unknown);
    let user = UserId::generate();
    owner.connect(user).await;
    assert_eq!(route_one(&*caller.broker, &envelope(user, 1)).await, Reach::Nodes(1));
    // As if the time had passed.
    until(async || route_one(&unborn, &stranger).await == Reach::Nobody).await;
}

/// What a pause of Redis leaves behind: leases that ran out while nobody could renew them.
#[tokio::test]
async fn nobody_is_not_believed_of_a_redis_that_hung() {
    let (mut server, _state) = private_redis().await;
    let link = link(&server.url(), |config| {
        config.warmup_ms = 600_000;
        // Short, so that the pause may be.
        config.lease_ms = 200;
    });
    let backend = redis(&link);
    let [caller, owner] = [backend.node().await, backend.node().await];
    let (user, stranger) = (UserId::generate(), UserId::generate());
    owner.connect(user).await;
    // As if the warm-up were over; the pulse is short, and the machine may be slow.
    until(async || {
        set_pulse(&link, "since", 0).await;
        backend.presence.renew_lease(caller.id).await.unwrap();
        route_one(&*caller.broker, &envelope(stranger, 1)).await == Reach::Nobody
    })
    .await;

    server.process.signal(Signal::Stop).unwrap();
    let stopped = Instant::now();
    until(async || stopped.elapsed() > Duration::from_millis(link.config().lease_ms)).await;
    server.process.signal(Signal::Cont).unwrap();

    for user in [user, stranger] {
        assert_eq!(
            route_one(&*caller.broker, &envelope(user, 1)).await,
            Reach::Unknown,
            "before it was noticed"
        );
        backend.presence.connections_of(stranger).await.unwrap_err();
    }
    backend.presence.renew_lease(caller.id).await.unwrap();
    for user in [user, stranger] {
        assert_eq!(route_one(&*caller.broker, &envelope(user, 2)).await, Reach::Unknown, "and after it was");
    }
    until(async || {
        backend.presence.renew_lease(owner.id).await.unwrap();
        route_one(&*caller.broker, &envelope(user, 3)).await == Reach::Nodes(1)
    })
    .await;
}

#[tokio::test]
async fn a_user_is_not_absent_because_a_node_was_lost_or_sent_him_away() {
    let (server, _state) = private_redis().await;
    let link = link(&server.url(), |config| {
        config.warmup_ms = 600_000;
        config.lease_ms = 600_000;
    });
    let backend = redis(&link);
    let [caller, lost, leaving] = [backend.node().await, backend.node().await, backend.node().await];
    set_pulse(&link, "since", 0).await;
    let [left_behind, sent_away, absent] = [(); 3].map(|()| UserId::generate());
    lost.connect(left_behind).await;
    leaving.connect(sent_away).await;

    lost.stop_listening().await;
    let entries = backend.presence.connections_of(sent_away).await.unwrap();
    backend.presence.depart(&entries).await.unwrap();
    backend.presence.release_lease(leaving.id).await.unwrap();

    until(async || route_one(&*caller.broker, &envelope(left_behind, 1)).await == Reach::Unknown).await;
    // As if its lease had ended.
    command(&link, &["SET", &link.key("lease", lost.id), "1"]).await;
    assert_eq!(route_one(&*caller.broker, &envelope(left_behind, 2)).await, Reach::Unknown);
    assert_eq!(route_one(&*caller.broker, &envelope(sent_away, 1)).await, Reach::Unknown);
    assert_eq!(route_one(&*caller.broker, &envelope(absent, 1)).await, Reach::Nobody);
    // As if the time had passed.
    command(&link, &["DEL", &link.key("lease", lost.id), &link.key("moving", sent_away)]).await;
    assert_eq!(route_one(&*caller.broker, &envelope(left_behind, 3)).await, Reach::Nobody);
    assert_eq!(route_one(&*caller.broker, &envelope(sent_away, 2)).await, Reach::Nobody);
}

async fn set_pulse(link: &RedisLink, field: &str, value: u64) {
    command(link, &["HSET", &link.pulse_key(), field, &value.to_string()]).await;
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
async fn a_subscription_that_comes_back_knows_no_topics() {
    let (server, _state) = private_redis().await;
    let link = link(&server.url(), |_| {});
    let backend = redis(&link);
    let [caller, mut node] = [backend.node().await, backend.node().await];
    let [before, after] = [(); 2].map(|()| ChannelId::generate());
    node.broker.subscribe(&[before]).await.unwrap();
    command(&link, &["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    assert_eq!(node.next().await, Incoming::Subscribed);

    node.broker.subscribe(&[after]).await.unwrap();
    let batch = [said(before, 1), said(after, 2)];
    caller.broker.publish(&batch).await.unwrap();

    assert_eq!(node.next().await, Incoming::Topic(after, batch[1].message.clone()));
    node.broker.subscribe(&[before]).await.unwrap();
    caller.broker.publish(&batch).await.unwrap();
    for said in batch {
        assert_eq!(node.next().await, Incoming::Topic(said.topic, said.message));
    }
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
