//! That a session has ended is known on every node; and what is deleted when.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde_json::json;

use super::{Node, Parts};
use crate::domain::clock::{Clock as _, SharedClock};
use crate::features::accounts::revocation::Watch;
use crate::features::accounts::{SessionRevoked, housekeeping, revocation};
use crate::shutdown::Shutdown;

/// Two nodes on one database, whose only way to hear from each other is that database.
async fn two_nodes() -> [Node; 2] {
    let one = Parts::new().await;
    let other = Parts {
        pool: one.pool.clone(),
        clock: one.clock.clone(),
        keys: one.keys.clone(),
        ..Parts::new().await
    };
    [one.start(), other.start()]
}

impl Node {
    fn watch(&self) -> (Watch, Arc<Mutex<Vec<SessionRevoked>>>) {
        let found = Arc::new(Mutex::new(Vec::new()));
        let record = found.clone();
        let watch = Watch {
            authenticator: self.authenticator.clone(),
            pool: self.pool.clone(),
            clock: self.clock.clone(),
            access_ttl: self.config.access_ttl(),
            found: Arc::new(move |revoked| record.lock().push(revoked)),
        };
        (watch, found)
    }
}

#[tokio::test]
async fn a_logout_on_one_node_is_found_on_another_once() {
    let [one, other] = two_nodes().await;
    let ann = one.join("ann").await;
    let (watch, found) = other.watch();
    assert_eq!(watch.poll(other.clock.now()).await.unwrap(), 0);
    one.call(Method::POST, "/auth/logout", &ann.access).await.expect(StatusCode::NO_CONTENT);
    other.get("/users/me", &ann.access).await.expect(StatusCode::OK);

    assert_eq!(watch.poll(other.clock.now()).await.unwrap(), 1);
    assert_eq!(found.lock().as_slice(), one.announced.lock().as_slice());
    other.get("/users/me", &ann.access).await.refused(401, "unauthenticated");
    assert_eq!(watch.poll(other.clock.now()).await.unwrap(), 0, "it is known");

    let (own, found) = one.watch();
    assert_eq!(
        (own.poll(one.clock.now()).await.unwrap(), found.lock().len()),
        (0, 0),
        "the node that ended it knew"
    );
}

#[tokio::test]
async fn a_revocation_that_is_committed_late_is_not_skipped() {
    let [one, other] = two_nodes().await;
    let ann = one.join("ann").await;
    one.call(Method::POST, "/auth/logout", &ann.access).await.expect(StatusCode::NO_CONTENT);
    let (watch, _) = other.watch();
    // By the time it became visible the other node had polled up to 29 seconds later.
    other.clock.advance(Duration::from_secs(29));
    assert_eq!(watch.poll(other.clock.now()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_node_that_starts_learns_all_that_live_tokens_may_belong_to() {
    let [one, other] = two_nodes().await;
    let ann = one.join("ann").await;
    one.call(Method::POST, "/auth/logout", &ann.access).await.expect(StatusCode::NO_CONTENT);
    one.clock.advance(Duration::from_secs(899));
    other.get("/users/me", &ann.access).await.expect(StatusCode::OK);

    let (mut watch, found) = other.watch();
    let (told, mut heard) = tokio::sync::mpsc::channel(1);
    watch.found = Arc::new(move |revoked| {
        found.lock().push(revoked);
        told.try_send(()).unwrap();
    });
    let shutdown = Shutdown::new();
    shutdown.spawn("revocation watch", revocation::watch(watch, shutdown.clone()));
    heard.recv().await.unwrap();
    other.get("/users/me", &ann.access).await.refused(401, "unauthenticated");
    shutdown.stop();
    assert!(shutdown.finished(Duration::from_secs(30)).await);
}

#[tokio::test]
async fn more_revocations_than_one_batch_are_all_found() {
    let [one, other] = two_nodes().await;
    let ann = one.join("ann").await;
    sqlx::query!(
        "INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, revoked_at, revoked_reason)
         SELECT gen_random_uuid(), $1::text::uuid, $2, $2, $2, $2, 'logout' FROM generate_series(1, 2500)",
        ann.id,
        one.clock.now(),
    )
    .execute(&one.pool)
    .await
    .unwrap();
    let (watch, _) = other.watch();
    assert_eq!(watch.poll(other.clock.now()).await.unwrap(), 2500);
}

#[tokio::test]
async fn ended_sessions_and_used_tokens_are_deleted_when_their_time_is_over_and_no_others() {
    let node = Node::start().await;
    let clock: SharedClock = node.clock.clone();
    let (ann, ben) = (node.join("ann").await, node.join("ben").await);
    node.call(Method::POST, "/auth/logout", &ben.access).await.expect(StatusCode::NO_CONTENT);
    let refreshed =
        node.post("/auth/refresh", json!({"refreshToken": ann.refresh})).await.expect(StatusCode::OK);

    node.clock.advance(Duration::from_hours(7 * 24));
    assert_eq!(housekeeping::clean_up(&node.pool, &clock, &node.config).await.unwrap(), 0);
    node.clock.advance(Duration::from_secs(1));
    // Ben's session, and the token that Ann has used.
    assert_eq!(housekeeping::clean_up(&node.pool, &clock, &node.config).await.unwrap(), 2);
    let body = json!({"refreshToken": refreshed["refreshToken"]});
    node.post("/auth/refresh", body).await.expect(StatusCode::OK);
    node.post("/auth/refresh", json!({"refreshToken": ann.refresh})).await.refused(401, "bad_refresh_token");

    node.clock.advance(Duration::from_hours(31 * 24 + 7 * 24));
    housekeeping::clean_up(&node.pool, &clock, &node.config).await.unwrap();
    let left = sqlx::query_scalar!(
        r#"SELECT (SELECT count(*) FROM sessions) + (SELECT count(*) FROM refresh_tokens) AS "n!""#
    )
    .fetch_one(&node.pool)
    .await
    .unwrap();
    assert_eq!(left, 0);
}
