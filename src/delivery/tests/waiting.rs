//! What waits for its user, why, and what ends the wait.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::{World, every_device, silent, token, until};
use crate::db::PgPool;
use crate::delivery::device_tokens::{DeviceToken, DeviceTokens};
use crate::delivery::fallback::Fallback;
use crate::delivery::{claims, cursors, outbox};
use crate::domain::ids::UserId;
use crate::ports::push::{Accepted, MemoryPush, Push, PushError, PushGateway};

/// As the devices feature does it.
async fn register_again(pool: &PgPool, user: UserId) {
    sqlx::query(
        "UPDATE device_tokens SET deactivated_at = NULL, deactivated_reason = NULL, last_registered_at = now()
         WHERE user_id = $1",
    )
    .bind(user.0)
    .execute(pool)
    .await
    .unwrap();
    claims::wake(pool, &[user]).await.unwrap();
}

#[tokio::test]
async fn what_waits_for_a_device_is_pushed_when_there_is_one() {
    let world = World::new().await;
    let user = world.user().await;
    world.tell(user).await;
    world.age(10).await;
    let sweeper = world.sweeper();
    sweeper.push().await.unwrap();
    world.until_reasons(user, &["no_device"]).await;

    world.device(user, "phone").await;
    claims::wake(&world.pool, &[user]).await.unwrap();
    sweeper.push().await.unwrap();

    world.until_reasons(user, &["accepted"]).await;
}

#[tokio::test]
async fn those_who_have_no_device_hold_up_nobody_who_has_one() {
    let world = World::new().await;
    let mut users = Vec::new();
    for position in 0..6 {
        let user = world.user().await;
        if position % 2 == 0 {
            world.device(user, "phone").await;
        }
        world.tell(user).await;
        users.push(user);
    }
    world.age(10).await;

    world.fallback().push(world.claim().await).await;

    for (position, user) in users.into_iter().enumerate() {
        world.until_reasons(user, &[["accepted", "no_device"][position % 2]]).await;
    }
    assert_eq!(world.pushed().len(), 3);
}

/// Everybody registers again the moment after it was looked for their devices.
struct JustAfter {
    pool: PgPool,
    tokens: Arc<dyn DeviceTokens>,
    looks: AtomicUsize,
}

#[async_trait]
impl DeviceTokens for JustAfter {
    async fn active(&self, user: UserId) -> Result<Vec<DeviceToken>, sqlx::Error> {
        self.tokens.active(user).await
    }

    async fn reachable(&self, users: &[UserId]) -> Result<HashSet<UserId>, sqlx::Error> {
        let reachable = self.tokens.reachable(users).await;
        if self.looks.fetch_add(1, Ordering::Relaxed) == 0 {
            for user in users {
                register_again(&self.pool, *user).await;
            }
        }
        reachable
    }

    async fn retire(&self, token: &DeviceToken, reason: &'static str) -> Result<bool, sqlx::Error> {
        self.tokens.retire(token, reason).await
    }
}

#[tokio::test]
async fn a_device_that_registers_while_its_user_is_taken_to_have_none_is_pushed() {
    let world = World::new().await;
    let user = world.user().await;
    world.device(user, "phone").await;
    let gone = "UPDATE device_tokens SET deactivated_at = now(), deactivated_reason = 'removed'";
    sqlx::query(gone).execute(&world.pool).await.unwrap();
    world.tell(user).await;
    world.age(10).await;
    let claimed = world.claim().await;
    let tokens =
        JustAfter { pool: world.pool.clone(), tokens: world.tokens(), looks: AtomicUsize::default() };
    let gateway = Arc::clone(&world.push) as _;
    let fallback =
        Fallback::start(world.pool.clone(), &world.config, Arc::new(tokens), gateway, &world.shutdown);

    fallback.push(claimed).await;
    world.sweeper().push().await.unwrap();

    world.until_reasons(user, &["accepted"]).await;
}

#[tokio::test]
async fn a_device_whose_token_was_dead_is_pushed_when_it_registers_again() {
    let world = World::new().await;
    let user = world.user().await;
    world.device(user, "phone").await;
    world.push.refuse_next(&token(user, "phone"), PushError::TokenDead { reason: "unregistered" });
    world.tell(user).await;
    world.age(10).await;
    let sweeper = world.sweeper();
    sweeper.push().await.unwrap();
    world.until_reasons(user, &["token_dead"]).await;

    register_again(&world.pool, user).await;
    sweeper.push().await.unwrap();

    world.until_reasons(user, &["accepted"]).await;
    assert_eq!(world.pushed(), [token(user, "phone"), token(user, "phone")]);
}

/// The device registers again while FCM still answers for its former token.
struct Overtaken {
    pool: PgPool,
    user: UserId,
    push: Arc<MemoryPush>,
}

#[async_trait]
impl PushGateway for Overtaken {
    async fn send(&self, push: &Push) -> Result<Accepted, PushError> {
        if self.push.received().is_empty() {
            register_again(&self.pool, self.user).await;
        }
        self.push.send(push).await
    }
}

#[tokio::test]
async fn a_device_that_registers_again_while_it_is_called_dead_is_pushed_and_kept() {
    let world = World::new().await;
    let user = world.user().await;
    world.device(user, "phone").await;
    world.push.refuse_next(&token(user, "phone"), PushError::TokenDead { reason: "unregistered" });
    world.tell(user).await;
    world.age(10).await;
    let gateway = Overtaken { pool: world.pool.clone(), user, push: Arc::clone(&world.push) };
    let fallback = world.fallback_to(Arc::new(gateway));

    until("it is pushed once more", async || {
        for claimed in world.claim().await {
            fallback.push(vec![claimed]).await;
        }
        world.pushed().len() == 2
    })
    .await;

    world.until_reasons(user, &["accepted"]).await;
}

#[tokio::test]
async fn each_wait_ends_for_its_own_reason() {
    let world = World::with(|config| config.push.give_up_minutes = 0).await;
    let [refused, unreadable, given_up, mute] =
        [world.user().await, world.user().await, world.user().await, world.user().await];
    for user in [refused, unreadable, given_up, mute] {
        world.device(user, "phone").await;
    }
    world.push.refuse_next(&token(refused, "phone"), PushError::Fatal { reason: "invalid_argument" });
    world
        .push
        .refuse_next(&token(given_up, "phone"), PushError::Retry { after: None, reason: "unavailable" });
    world.tell(unreadable).await;
    sqlx::query("UPDATE events SET push = '{\"collapse_key\": \"linked\"}'")
        .execute(&world.pool)
        .await
        .unwrap();
    world.tell(refused).await;
    world.tell(given_up).await;
    drop(world.append(silent(mute)).await);
    world.age(10).await;
    let sweeper = world.sweeper();
    sweeper.push().await.unwrap();

    let waits = [(refused, "refused"), (unreadable, "unreadable"), (given_up, "given_up"), (mute, "silent")];
    for (user, reason) in waits {
        world.until_reasons(user, &[reason]).await;
        assert_eq!(world.outcomes(user).await, [None], "it waits for a connect");
    }
    world.age(3_700).await;
    sweeper.expire().await.unwrap();
    for (user, reason) in waits {
        assert_eq!(world.outcomes(user).await, [Some("expired".to_owned())]);
        assert_eq!(world.reasons(user).await, [Some(reason.to_owned())]);
    }
}

#[tokio::test]
async fn an_event_whose_body_is_spoilt_leaves_a_mark_in_its_place() {
    let world = World::new().await;
    let user = world.user().await;
    for _ in 0..3 {
        world.tell(user).await;
    }
    sqlx::query("UPDATE events SET body = 'spoilt' WHERE seq = 2").execute(&world.pool).await.unwrap();

    let events = outbox::read_after(&world.pool, user, 0, 10).await.unwrap();

    let frames: Vec<String> =
        events.iter().map(|event| String::from_utf8_lossy(&event.frame[2..]).into_owned()).collect();
    assert!(frames[0].starts_with(r#"{"type":"TEST","id":"#), "{frames:?}");
    assert!(frames[1].starts_with(r#"{"type":"UNREADABLE","id":"#) && frames[1].ends_with(r#","seq":2}"#));
    assert!(frames[2].ends_with(r#","seq":3}"#));
}

#[tokio::test]
async fn a_user_who_makes_up_device_names_is_remembered_by_the_latest() {
    let world = World::with(every_device).await;
    let (user, other) = (world.user().await, world.user().await);
    cursors::advance(&world.pool, &[other.0], &["phone".into()], &[1]).await.unwrap();
    for name in 0..70 {
        cursors::advance(&world.pool, &[user.0], &[format!("{name:02}")], &[name]).await.unwrap();
    }

    let known = cursors::of_user(&world.pool, user).await.unwrap();

    assert_eq!(known.len(), 64);
    assert!(known.contains_key("69") && !known.contains_key("05"));
    assert_eq!(cursors::of_user(&world.pool, other).await.unwrap().len(), 1);
}
