//! How guessing is stopped, and the owner of an account is not.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Node, PASSWORD, Parts, address};
use crate::dev::testing;
use crate::ports::throttle::contract::{AWAY, redis};
use crate::ports::throttle::{FallbackThrottle, MemoryThrottle};

fn guess(account: &str) -> Value {
    json!({"username": account, "password": "wrong password"})
}

fn right(account: &str) -> Value {
    json!({"username": account, "password": PASSWORD})
}

#[tokio::test]
async fn a_guesser_locks_out_himself_alone() {
    let node = Node::start().await;
    node.join("ann").await;
    for account in ["ann", "nobody"] {
        for _ in 0..5 {
            node.post_from(address(9), "/auth/login", guess(account)).await.refused(401, "bad_credentials");
        }
        let refused = node.post_from(address(9), "/auth/login", right(account)).await;
        refused.refused(429, "rate_limited");
        assert_eq!(refused.retry_after(), 900);
    }
    // The e-mail address and the username are one account.
    node.post_from(address(9), "/auth/login", right("ann@example.com")).await.refused(429, "rate_limited");
    node.post_from(address(2), "/auth/login", right("ann")).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn the_block_lapses_with_its_window() {
    let node = Node::start().await;
    node.join("ann").await;
    for _ in 0..5 {
        node.post("/auth/login", guess("ann")).await.refused(401, "bad_credentials");
        node.clock.advance(Duration::from_mins(1));
    }
    let refused = node.post("/auth/login", right("ann")).await;
    refused.refused(429, "rate_limited");
    assert_eq!(refused.retry_after(), 10 * 60);
    node.clock.advance(Duration::from_mins(10));
    node.post("/auth/login", right("ann")).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_success_forgets_the_failures_before_it() {
    let node = Node::start().await;
    node.join("ann").await;
    for _ in 0..5 {
        for _ in 0..4 {
            node.post("/auth/login", guess("ann")).await.refused(401, "bad_credentials");
        }
        node.post("/auth/login", right("ann")).await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn of_parallel_guesses_exactly_the_limit_are_tried() {
    let node = Node::start().await;
    node.join("ann").await;
    let answers = join_all((0..50).map(|_| node.post("/auth/login", guess("ann")))).await;
    let tried = answers.iter().filter(|answer| answer.status == StatusCode::UNAUTHORIZED).count();
    let throttled = answers.iter().filter(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS).count();
    assert_eq!((tried, throttled), (5, 45));
}

#[tokio::test]
async fn one_address_cannot_try_one_password_at_many_accounts() {
    let node = Node::start().await;
    node.join("ann").await;
    for number in 0..50 {
        let body = guess(&format!("somebody{number}"));
        node.post_from(address(9), "/auth/login", body).await.refused(401, "bad_credentials");
    }
    node.post_from(address(9), "/auth/login", right("ann")).await.refused(429, "rate_limited");
    node.post_from(address(2), "/auth/login", right("ann")).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn people_who_share_an_address_may_all_log_in() {
    let node = Node::start().await;
    node.join("ann").await;
    for _ in 0..80 {
        node.post("/auth/login", right("ann")).await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn many_addresses_cannot_guess_at_one_account_and_its_owner_still_gets_in() {
    let mut parts = Parts::new().await;
    parts.config.login_failures_per_account_max = 20;
    let node = parts.start();
    node.join("ann").await;
    for number in 0..20 {
        node.post_from(address(100 + number), "/auth/login", guess("ann"))
            .await
            .refused(401, "bad_credentials");
    }
    node.post_from(address(200), "/auth/login", right("ann")).await.refused(429, "rate_limited");
    // She has been signed in from this address before.
    node.post_from(address(1), "/auth/login", right("ann")).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn two_nodes_count_together() {
    let url = testing::redis_url().await;
    let prefix = uuid::Uuid::now_v7().to_string();
    let mut nodes = Vec::new();
    let pool = testing::database().await;
    for _ in 0..2 {
        let throttle = Arc::new(redis(&url, &prefix));
        nodes.push(Parts { pool: pool.clone(), throttle, ..Parts::new().await }.start());
    }
    nodes[0].join("ann").await;
    for number in 0..5 {
        nodes[number % 2].post("/auth/login", guess("ann")).await.refused(401, "bad_credentials");
    }
    for node in &nodes {
        node.post("/auth/login", right("ann")).await.refused(429, "rate_limited");
    }
}

#[tokio::test]
async fn without_redis_each_node_keeps_the_limits_by_itself() {
    let mut parts = Parts::new().await;
    let shared = Arc::new(redis(AWAY, ""));
    let local = Arc::new(MemoryThrottle::new(parts.clock.clone(), 1_000));
    parts.throttle = Arc::new(FallbackThrottle { shared, local });
    let node = parts.start();
    node.join("ann").await;
    for _ in 0..5 {
        node.post("/auth/login", guess("ann")).await.refused(401, "bad_credentials");
    }
    node.post("/auth/login", right("ann")).await.refused(429, "rate_limited");
}

#[tokio::test]
async fn a_limit_that_nobody_can_count_is_not_waived() {
    let mut parts = Parts::new().await;
    parts.throttle = Arc::new(redis(AWAY, ""));
    let node = parts.start();
    node.post("/auth/login", right("ann")).await.refused(503, "unavailable");
}
