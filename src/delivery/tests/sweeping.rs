//! What becomes of events that nobody confirms.

use std::sync::Arc;
use std::time::Duration;

use super::{World, every_device, mailbox, pushable, silent, token, until};
use crate::delivery::cursors;
use crate::delivery::outcome::Reason;
use crate::delivery::route::{Route, Turn};
use crate::delivery::sweeper::{Found, Sweeper};
use crate::delivery::{claims, outbox};
use crate::dev::testing;
use crate::domain::clock::Timestamp;
use crate::ports::broker::RedisBroker;
use crate::ports::redis::RedisLink;

#[tokio::test]
async fn an_unconfirmed_event_is_routed_again_and_falls_due_at_its_deadline() {
    let world = World::new().await;
    let user = world.user().await;
    let connection = mailbox(user, None);
    world.registry.insert(&connection);
    let event = world.event(user).await;
    world.age(2).await;

    world.sweeper().route_again().await.unwrap();

    assert_eq!(connection.collect().await.events.len(), 1);
    // Even if this node died right now.
    let due_in = world.due_in(event.envelope.event).await;
    assert!((1.0..=3.0).contains(&due_in), "{due_in}");
}

#[tokio::test]
async fn what_waits_for_its_user_costs_others_nothing() {
    const WAITING: i64 = 3_000;
    let world = World::new().await;
    let (user, other) = (world.user().await, world.user().await);
    let event = world.event(other).await.envelope.event;
    // From now on the statistics say that hardly anything is not settled.
    sqlx::query("ALTER TABLE events SET (autovacuum_enabled = false)").execute(&world.pool).await.unwrap();
    sqlx::query("ANALYZE events").execute(&world.pool).await.unwrap();
    sqlx::query(
        r#"INSERT INTO events (id, user_id, seq, kind, body, created_at, due_at, expires_at, reason)
           SELECT gen_random_uuid(), $1, seq, 'TEST', '{"type":"TEST"}', now() - interval '1 minute',
                  now() + interval '6 hours', now() + interval '1 day', 'no_device'
           FROM generate_series(1, $2) AS seq"#,
    )
    .bind(user.0)
    .bind(WAITING)
    .execute(&world.pool)
    .await
    .unwrap();
    let mut connection = world.pool.acquire().await.unwrap();
    sqlx::query("SET enable_seqscan = off").execute(&mut *connection).await.unwrap();
    let (deadline, lease) = (world.config.ack_deadline(), world.config.claim_lease());

    claims::claim_unconfirmed(&mut *connection, 100, deadline, true).await.unwrap();
    claims::claim_overdue(&mut *connection, 100, deadline, lease).await.unwrap();
    claims::expire(&mut *connection, 100).await.unwrap();
    let claimed = claims::claim_fresh(&mut *connection, &[event], lease).await.unwrap();
    claims::park(&mut *connection, &claimed, Reason::NoDevice, claimed[0].now).await.unwrap();
    outbox::read_unsettled(&mut *connection, other, 0, 1, 10).await.unwrap();
    let pong = ["pong".to_owned()];
    let confirmed = outbox::settle_confirmed(&mut *connection, &[other.0], &[1], &pong).await.unwrap();

    assert_eq!(confirmed.len(), 1);
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(&mut *connection).await.unwrap();
    let (scans, read): (i64, i64) = sqlx::query_as(
        "SELECT sum(idx_scan)::bigint, sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname = 'events'",
    )
    .fetch_one(&mut *connection)
    .await
    .unwrap();
    assert!(scans >= 7, "{scans}");
    assert!(read < WAITING, "{read} entries of the indexes were read");
}

#[tokio::test]
async fn a_node_that_reaches_no_other_leaves_events_to_those_that_do() {
    let world = World::new().await;
    let user = world.user().await;
    let connection = mailbox(user, None);
    world.registry.insert(&connection);
    world.tell(user).await;
    world.age(2).await;

    let away = RedisBroker::new(RedisLink::for_test("redis://127.0.0.1:1", "away"), world.node);
    let cut_off = Sweeper { route: Route { broker: Arc::new(away), ..world.route() }, ..world.sweeper() };
    assert!(cut_off.route.health.is_well(), "as it was a moment ago");
    cut_off.route.send(&[world.event(world.user().await).await], Turn::First).await;
    assert_eq!(cut_off.route_again().await.unwrap(), Found::Few);
    world.sweeper().route_again().await.unwrap();

    assert_eq!(connection.collect().await.events.len(), 1, "the other routed it");
}

#[tokio::test]
async fn an_absent_users_event_that_was_not_pushed_at_once_is_pushed_when_routed_again() {
    let world = World::new().await;
    let user = world.user().await;
    world.device(user, "phone").await;
    world.tell(user).await;
    world.age(2).await;

    world.sweeper().route_again().await.unwrap();

    world.until_outcomes(user, &["pushed"]).await;
    assert_eq!(world.pushed(), [token(user, "phone")]);
}

#[tokio::test]
async fn an_event_without_devices_waits_and_expires_on_the_record() {
    let world = World::new().await;
    let user = world.user().await;
    let event = world.event(user).await;
    let sweeper = world.sweeper();

    world.age(10).await;
    sweeper.push().await.unwrap();
    until("it waits for its end", async || world.due_in(event.envelope.event).await > 3_000.0).await;
    assert_eq!(world.outcomes(user).await, [None]);

    world.age(3_600).await;
    sweeper.push().await.unwrap();
    assert_eq!(world.outcomes(user).await, [None], "a push must not be tried after its life");
    sweeper.expire().await.unwrap();
    assert_eq!(world.outcomes(user).await, [Some("expired".to_owned())]);
    assert_eq!(world.reasons(user).await, [Some("no_device".to_owned())]);
}

#[tokio::test]
async fn what_a_device_confirmed_does_not_expire_while_others_were_waited_for() {
    let world = World::with(every_device).await;
    let user = world.user().await;
    world.tell(user).await;
    world.tell(user).await;
    cursors::advance(&world.pool, &[user.0], &[String::new()], &[1]).await.unwrap();
    world.age(3_700).await;

    world.sweeper().expire().await.unwrap();

    let expected = [Some("delivered".to_owned()), Some("expired".to_owned())];
    assert_eq!(world.outcomes(user).await, expected);
}

#[tokio::test]
async fn a_settlement_by_an_overtaken_worker_changes_nothing() {
    let world = World::new().await;
    let user = world.user().await;
    world.tell(user).await;
    world.age(10).await;
    let slow = world.claim().await.remove(0);
    assert!(world.claim().await.is_empty(), "a claimed event is not due");
    world.age(0).await;
    let quick = world.claim().await.remove(0);

    let settle = async |by, reason| claims::settle(&world.pool, by, reason).await.unwrap().is_some();
    assert!(!settle(&slow, Reason::Accepted).await);
    claims::park(&world.pool, std::slice::from_ref(&slow), Reason::NoDevice, slow.now).await.unwrap();
    assert!(world.claim().await.is_empty(), "the overtaken worker gave it back");
    assert!(settle(&quick, Reason::GivenUp).await);
    assert!(!settle(&quick, Reason::Accepted).await);
    assert_eq!(world.outcomes(user).await, [Some("expired".to_owned())]);
}

#[tokio::test]
async fn a_pile_of_overdue_events_does_not_hide_a_young_one() {
    let world = World::with(|config| config.sweep_batch_max = 1).await;
    let (old, young) = (world.user().await, world.user().await);
    for _ in 0..3 {
        world.tell(old).await;
    }
    world.age(60).await;
    let connection = mailbox(young, None);
    world.registry.insert(&connection);
    drop(world.append(silent(young)).await);
    sqlx::query(
        "UPDATE events SET created_at = created_at - interval '1 s', due_at = clock_timestamp() WHERE user_id = $1",
    )
    .bind(young.0)
    .execute(&world.pool)
    .await
    .unwrap();

    assert_eq!(world.sweeper().route_again().await.unwrap(), Found::Full);

    assert_eq!(connection.collect().await.events.len(), 1);
}

#[tokio::test]
async fn the_order_of_commits_is_the_order_of_seq_and_of_time() {
    let world = World::new().await;
    let user = world.user().await;
    let mut first = world.pool.begin().await.unwrap();
    drop(outbox::append(&mut first, vec![pushable(user)]).await.unwrap());
    let second = async {
        let mut tx = world.pool.begin().await.unwrap();
        let committed = outbox::append(&mut tx, vec![pushable(user)]).await.unwrap();
        tx.commit().await.unwrap();
        committed[0].envelope.seq
    };
    let release = async {
        until("the second waits for the first", async || testing::blocked(&world.pool).await == 1).await;
        let now: Timestamp =
            sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&world.pool).await.unwrap();
        first.commit().await.unwrap();
        now
    };
    let (seq, released) = tokio::join!(second, release);

    assert_eq!(seq, 2);
    let created: Timestamp = sqlx::query_scalar("SELECT created_at FROM events WHERE seq = 2")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert!(created >= released, "the deadline ran while the event waited for its place");
}

#[tokio::test]
async fn only_settled_events_beyond_the_retention_are_deleted() {
    let world = World::new().await;
    let user = world.user().await;
    for _ in 0..3 {
        world.tell(user).await;
    }
    let pong = ["pong".to_owned()];
    outbox::settle_confirmed(&world.pool, &[user.0], &[2], &pong).await.unwrap();
    testing::back_date_events(&world.pool, 2).await;
    world.tell(user).await;
    outbox::settle_confirmed(&world.pool, &[user.0], &[0], &pong).await.unwrap();

    let retention = Duration::from_hours(1);
    assert_eq!(outbox::prune(&world.pool, retention, 1).await.unwrap(), 1);
    assert_eq!(outbox::prune(&world.pool, retention, 10).await.unwrap(), 1);
    assert_eq!(outbox::prune(&world.pool, retention, 10).await.unwrap(), 0);

    let kept = outbox::read_after(&world.pool, user, 0, 10).await.unwrap();
    assert_eq!(kept.iter().map(|event| event.seq).collect::<Vec<_>>(), [3, 4]);
}

#[tokio::test]
async fn a_sweeper_ends_when_the_process_does() {
    let world = World::with(|config| config.sweep_interval_ms = 1).await;
    let sweeper: Sweeper = world.sweeper();
    world.shutdown.spawn("sweeper", sweeper.run(world.shutdown.clone()));

    world.shutdown.stop();

    assert!(world.shutdown.finished(super::PATIENCE).await);
}
