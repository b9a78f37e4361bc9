//! What replaces itself on a phone is pushed once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::{World, pushable, token, until};
use crate::delivery::dispatcher::Dispatcher;
use crate::delivery::event::{NewEvent, PushContent};
use crate::delivery::outbox;
use crate::delivery::sweeper::Sweeper;
use crate::domain::ids::UserId;
use crate::ports::push::{Accepted, MemoryPush, Push, PushError, PushGateway};

fn keyed(user: UserId, collapse_key: &str) -> NewEvent {
    let event = pushable(user);
    let push = event.push.map(|push| PushContent { collapse_key: collapse_key.into(), ..push });
    NewEvent { push, ..event }
}

/// The seqs that pushes told of, in order.
fn told(push: &MemoryPush) -> Vec<String> {
    push.received().iter().map(|push| push.data["seq"].clone()).collect()
}

/// Makes all lanes free, and all that waits for one due.
async fn free_lanes(world: &World) {
    sqlx::query("UPDATE push_lanes SET free_at = clock_timestamp()").execute(&world.pool).await.unwrap();
    world.age(10).await;
}

/// Sweeps until the events of the user ended for these reasons, in order.
async fn sweep_until(world: &World, sweeper: &Sweeper, user: UserId, expected: &[&str]) {
    until(&format!("the reasons are {expected:?}"), async || {
        sweeper.push().await.unwrap();
        let reasons = world.reasons(user).await;
        reasons.iter().map(|reason| reason.as_deref().unwrap_or("")).eq(expected.iter().copied())
    })
    .await;
}

#[tokio::test]
async fn of_a_burst_the_first_and_the_last_are_pushed() {
    let world = World::with(|config| config.push.coalesce_window_ms = 60_000).await;
    let user = world.user().await;
    world.device(user, "phone").await;
    let dispatcher = Dispatcher::start(&world.route(), &world.fallback(), 16, &world.shutdown);
    dispatcher.dispatch(vec![world.event(user).await]).await;
    world.until_outcomes(user, &["pushed"]).await;

    for _ in 0..4 {
        let event = world.event(user).await;
        let id = event.envelope.event;
        dispatcher.dispatch(vec![event]).await;
        until("it waits until the lane is free", async || world.due_in(id).await > 10.0).await;
    }
    assert_eq!(told(&world.push), ["1"]);

    free_lanes(&world).await;
    let expected = ["accepted", "coalesced", "coalesced", "coalesced", "accepted"];
    sweep_until(&world, &world.sweeper(), user, &expected).await;
    assert_eq!(told(&world.push), ["1", "5"]);
}

#[tokio::test]
async fn different_news_are_never_told_as_one() {
    let world = World::new().await;
    let (user, other) = (world.user().await, world.user().await);
    world.device(user, "phone").await;
    world.device(other, "phone").await;
    for (user, key) in [(user, "status.a"), (user, "linked.a"), (user, "status.a"), (other, "status.a")] {
        drop(world.append(keyed(user, key)).await);
    }
    world.age(10).await;

    world.sweeper().push().await.unwrap();

    world.until_reasons(user, &["coalesced", "accepted", "accepted"]).await;
    world.until_reasons(other, &["accepted"]).await;
    let mut told = told(&world.push);
    told.sort();
    assert_eq!(told, ["1", "2", "3"]);
}

#[tokio::test]
async fn what_a_device_must_wait_for_the_next_of_its_lane_waits_for_too() {
    let world = World::new().await;
    let user = world.user().await;
    world.device(user, "phone").await;
    let busy = PushError::Busy { after: Some(Duration::from_mins(2)), reason: "quota_exceeded" };
    world.push.refuse_next(&token(user, "phone"), busy);
    let first = world.event(user).await.envelope.event;
    world.age(10).await;
    let sweeper = world.sweeper();
    sweeper.push().await.unwrap();
    until("it is to wait", async || world.due_in(first).await > 60.0).await;

    let second = world.event(user).await.envelope.event;
    sqlx::query(
        "UPDATE events SET created_at = created_at - interval '10 s', due_at = created_at WHERE id = $1",
    )
    .bind(second.0)
    .execute(&world.pool)
    .await
    .unwrap();
    sweeper.push().await.unwrap();

    until("so is the next", async || world.due_in(second).await > 60.0).await;
    assert_eq!(told(&world.push), ["1"]);
}

#[tokio::test]
async fn a_message_that_is_never_taken_holds_up_no_other_of_its_lane() {
    let world = World::new().await;
    let user = world.user().await;
    world.device(user, "phone").await;
    for _ in 0..3 {
        world.tell(user).await;
    }
    world.push.refuse_next(&token(user, "phone"), PushError::Fatal { reason: "payload_too_large" });
    world.age(10).await;
    let sweeper = world.sweeper();

    sweep_until(&world, &sweeper, user, &["coalesced", "accepted", "refused"]).await;
    assert_eq!(told(&world.push), ["3", "2"]);
    let outcomes = world.outcomes(user).await;
    assert_eq!(outcomes[2], None, "a connect may still get it");

    world.tell(user).await;
    free_lanes(&world).await;
    sweep_until(&world, &sweeper, user, &["coalesced", "accepted", "coalesced", "accepted"]).await;
}

#[tokio::test]
async fn a_confirmation_between_the_claim_and_the_push_cancels_it() {
    let world = World::with(|config| config.push.concurrency = 1).await;
    let (user, next) = (world.user().await, world.user().await);
    world.device(user, "phone").await;
    world.device(next, "phone").await;
    world.tell(user).await;
    world.age(10).await;
    let claimed = world.claim().await.remove(0);
    let pong = ["pong".to_owned()];
    outbox::settle_confirmed(&world.pool, &[user.0], &[1], &pong).await.unwrap();

    let fallback = world.fallback();
    fallback.push(vec![claimed]).await;
    world.tell(next).await;
    world.age(10).await;
    // One at a time: when this one is through, so is the one before.
    fallback.push(vec![world.claim().await.remove(0)]).await;

    world.until_outcomes(next, &["pushed"]).await;
    assert_eq!(world.reasons(user).await, [Some("pong".to_owned())]);
    assert_eq!(world.pushed(), [token(next, "phone")]);
}

/// Answers when it is told to.
struct Slow {
    push: Arc<MemoryPush>,
    release: Semaphore,
}

#[async_trait]
impl PushGateway for Slow {
    async fn send(&self, push: &Push) -> Result<Accepted, PushError> {
        let accepted = self.push.send(push).await;
        self.release.acquire().await.unwrap().forget();
        accepted
    }
}

#[tokio::test]
async fn a_push_that_takes_longer_than_a_lease_is_not_made_by_another_worker() {
    const LEASE_MS: u64 = 3_000;
    let world = World::with(|config| config.claim_lease_ms = LEASE_MS).await;
    let user = world.user().await;
    world.device(user, "phone").await;
    world.tell(user).await;
    world.age(10).await;
    let slow = Arc::new(Slow { push: Arc::clone(&world.push), release: Semaphore::new(0) });
    let fallback = world.fallback_to(Arc::clone(&slow) as _);
    fallback.push(vec![world.claim().await.remove(0)]).await;
    world.push.received_at_least(1).await;

    let age = "SELECT EXTRACT(EPOCH FROM free_at - $1)::float8 FROM push_lanes";
    let begun: crate::domain::clock::Timestamp =
        sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&world.pool).await.unwrap();
    let other = world.sweeper();
    until("the lease was renewed past its end", async || {
        other.push().await.unwrap();
        let lasts: f64 = sqlx::query_scalar(age).bind(begun).fetch_one(&world.pool).await.unwrap();
        lasts > 2.0 * Duration::from_millis(LEASE_MS).as_secs_f64()
    })
    .await;
    slow.release.add_permits(1);

    world.until_reasons(user, &["accepted"]).await;
    assert_eq!(told(&world.push), ["1"]);
}

#[tokio::test]
async fn a_worker_that_was_overtaken_in_mid_push_changes_nothing() {
    // Long enough that it is not renewed meanwhile.
    let world = World::with(|config| config.claim_lease_ms = 120_000).await;
    let user = world.user().await;
    world.device(user, "phone").await;
    world.tell(user).await;
    world.age(10).await;
    let slow = Arc::new(Slow { push: Arc::clone(&world.push), release: Semaphore::new(0) });
    let overtaken = world.fallback_to(Arc::clone(&slow) as _);
    overtaken.push(vec![world.claim().await.remove(0)]).await;
    world.push.received_at_least(1).await;

    // As if its node stood still for longer than the lease.
    free_lanes(&world).await;
    world.sweeper().push().await.unwrap();
    world.until_reasons(user, &["accepted"]).await;
    world.tell(user).await;
    slow.release.add_permits(1);
    // It holds the only permit of its node until it has written down all it wants to.
    until("the overtaken worker is through", async || overtaken.free() == world.config.push.concurrency)
        .await;

    assert_eq!(world.reasons(user).await, [Some("accepted".to_owned()), None]);
    assert_eq!(told(&world.push), ["1", "1"]);
}

/// Needs a moment to fail.
struct Away(Arc<MemoryPush>);

#[async_trait]
impl PushGateway for Away {
    async fn send(&self, push: &Push) -> Result<Accepted, PushError> {
        self.0.send(push).await?;
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        Err(PushError::Retry { after: None, reason: "timeout" })
    }
}

#[tokio::test]
async fn a_service_that_is_away_is_left_alone() {
    let world = World::with(|config| config.push.concurrency = 1).await;
    let fallback = world.fallback_to(Arc::new(Away(Arc::clone(&world.push))));
    for _ in 0..7 {
        let user = world.user().await;
        world.device(user, "phone").await;
        world.tell(user).await;
    }
    world.age(10).await;
    for claimed in world.claim().await {
        fallback.push(vec![claimed]).await;
    }

    until("each has its attempt on record", async || {
        let attempts: i64 = sqlx::query_scalar("SELECT count(*) FROM pushes WHERE reason IS NOT NULL")
            .fetch_one(&world.pool)
            .await
            .unwrap();
        attempts == 7
    })
    .await;
    assert_eq!(world.pushed().len(), 5);
}

#[tokio::test]
async fn a_message_that_others_take_is_not_wrong_but_the_token_is() {
    let world = World::new().await;
    let user = world.user().await;
    world.device(user, "odd").await;
    world.device(user, "phone").await;
    world.push.refuse_next(&token(user, "odd"), PushError::Fatal { reason: "invalid_argument" });
    world.tell(user).await;
    world.age(10).await;

    world.sweeper().push().await.unwrap();

    world.until_reasons(user, &["accepted"]).await;
    let retired: Vec<String> =
        sqlx::query_scalar("SELECT device_id FROM device_tokens WHERE deactivated_at IS NOT NULL")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!(retired, ["odd"]);
}
