//! Logging in.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Node, PASSWORD, Parts};

#[tokio::test]
async fn one_logs_in_by_email_or_username_through_either_door() {
    let node = Node::start().await;
    let ann = node.join("Ann").await;
    for path in ["/auth/login", "/users/login"] {
        for (field, account) in [
            ("email", "ann@example.com"),
            ("email", " ANN@Example.com "),
            ("username", "Ann"),
            ("username", "ann"),
            ("username", "ann@example.com"),
        ] {
            let body =
                node.post(path, json!({field: account, "password": PASSWORD})).await.expect(StatusCode::OK);
            assert_eq!(body["user"]["id"], ann.id);
            assert_eq!((&body["tokenType"], &body["expiresIn"]), (&json!("bearer"), &json!(900)));
        }
    }
}

#[tokio::test]
async fn exactly_one_account_name_is_needed() {
    let node = Node::start().await;
    for body in [
        json!({"password": PASSWORD}),
        json!({"email": "ann@example.com", "username": "ann", "password": PASSWORD}),
        json!({"username": "", "password": PASSWORD}),
        json!({"username": "ann", "password": ""}),
        json!({"username": "ann\u{0}", "password": PASSWORD}),
        json!({"username": "ann", "password": "x".repeat(257)}),
        json!({"username": ["ann"], "password": PASSWORD}),
    ] {
        node.post("/auth/login", body).await.refused(422, "invalid_body");
    }
}

#[tokio::test]
async fn the_cookie_is_for_browsers_only() {
    let node = Node::start().await;
    node.join("ann").await;
    let answer = node.post("/auth/login", json!({"username": "ann", "password": PASSWORD})).await;
    let attributes = "; HttpOnly; Path=/; SameSite=Lax; Max-Age=900";
    let token = answer.body["accessToken"].as_str().unwrap();
    assert_eq!(answer.cookie(), format!("jwt_token={token}{attributes}; Secure"));
    assert_eq!(answer.headers["cache-control"], "no-store");

    let mut parts = Parts::new().await;
    parts.secure_cookies = false;
    let node = parts.start();
    node.join("ann").await;
    let answer = node.post("/auth/login", json!({"username": "ann", "password": PASSWORD})).await;
    assert!(answer.cookie().ends_with(attributes), "{}", answer.cookie());
}

#[tokio::test]
async fn an_unknown_account_and_a_wrong_password_are_answered_alike() {
    let node = Node::start().await;
    node.join("ann").await;
    let mut answers = Vec::new();
    for account in ["ann", "nobody", "ann@example.com", "nobody@example.com"] {
        answers
            .push(node.post("/auth/login", json!({"username": account, "password": "wrong password"})).await);
    }
    answers[0].refused(401, "bad_credentials");
    for answer in &answers[1..] {
        assert_eq!(
            (answer.status, &answer.headers, &answer.body),
            (answers[0].status, &answers[0].headers, &answers[0].body)
        );
    }
}

/// Not a measurement: whether both do the work at all. The work is some ten times the rest of a login here, and the
/// quickest of many tries is what a busy machine disturbs least.
#[tokio::test]
async fn an_unknown_account_takes_as_long_as_a_wrong_password() {
    let mut parts = Parts::new().await;
    parts.config.hashing_memory_kib = 4 * 1024;
    parts.config.login_failures_per_account_and_address_max = 1_000;
    parts.config.login_failures_per_account_max = 1_000;
    let node = parts.start();
    node.join("ann").await;
    let mut quickest = [Duration::MAX; 2];
    for _ in 0..15 {
        for (account, quickest) in ["ann", "nobody"].into_iter().zip(&mut quickest) {
            let started = Instant::now();
            let body = json!({"username": account, "password": "wrong password"});
            node.post("/auth/login", body).await.refused(401, "bad_credentials");
            *quickest = started.elapsed().min(*quickest);
        }
    }
    let [known, unknown] = quickest.map(|time| time.as_secs_f64());
    assert!((0.5..2.0).contains(&(known / unknown)), "known {known} s, unknown {unknown} s");
}

#[tokio::test]
async fn a_password_is_hashed_again_when_the_parameters_rise() {
    let hash = |node: &Node| {
        let pool = node.pool.clone();
        async move { sqlx::query_scalar!("SELECT password_hash FROM users").fetch_one(&pool).await.unwrap() }
    };
    let parts = Parts::new().await;
    let mut stronger = Parts { pool: parts.pool.clone(), ..Parts::new().await };
    let node = parts.start();
    node.join("ann").await;
    let weak = hash(&node).await;
    assert!(weak.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{weak}");

    stronger.config.hashing_memory_kib = 16;
    let node = stronger.start();
    let body = json!({"username": "ann", "password": "wrong password"});
    node.post("/auth/login", body).await.refused(401, "bad_credentials");
    assert_eq!(hash(&node).await, weak);
    node.log_in("ann").await;
    let strong = hash(&node).await;
    assert!(strong.starts_with("$argon2id$v=19$m=16,t=1,p=1$"), "{strong}");
    node.log_in("ann").await;
    assert_eq!(hash(&node).await, strong);
}

#[tokio::test]
async fn a_login_without_room_to_hash_is_refused_at_once_and_is_no_attempt() {
    let mut parts = Parts::new().await;
    (parts.config.hashing_concurrency, parts.config.hashing_queue_max) = (1, 0);
    let node = parts.start();
    node.join("ann").await;
    let body = json!({"username": "ann", "password": PASSWORD});
    let answers = join_all((0..20).map(|_| node.post("/auth/login", body.clone()))).await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != StatusCode::OK).collect();
    assert!(!refused.is_empty());
    for answer in refused {
        answer.refused(503, "overloaded");
        assert_eq!(answer.retry_after(), 1);
    }
    node.log_in("ann").await;
}

#[tokio::test]
async fn no_answer_and_no_row_holds_a_secret_in_clear() {
    let node = Node::start().await;
    let ann = node.join("ann").await;
    let rows = sqlx::query_scalar!(
        r#"SELECT (SELECT json_agg(u)::text FROM users u) || (SELECT json_agg(s)::text FROM sessions s)
               || (SELECT json_agg(r)::text FROM refresh_tokens r) AS "rows!""#
    )
    .fetch_one(&node.pool)
    .await
    .unwrap();
    for secret in [PASSWORD, &ann.refresh, &ann.access] {
        assert!(!rows.contains(secret));
    }
    let me: Value = node.get("/users/me", &ann.access).await.expect(StatusCode::OK);
    assert!(!me.to_string().contains("argon2"));
}
