//! Where a client goes on that comes back, according to what Postgres still has.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::config::DEFAULT_TOML;
use crate::db::{EpochId, PgPool};
use crate::delivery::event::NewEvent;
use crate::delivery::outbox::{self, Cursor};
use crate::dev::testing;
use crate::domain::ids::{EventId, UserId};
use crate::edge::ws::Replay;
use crate::edge::ws::protocol::ResyncReason;
use crate::edge::ws::replay::Start;

/// `delivery.retention_hours`, and one more.
const BEYOND_RETENTION_HOURS: i32 = 73;

struct World {
    pool: PgPool,
    replay: Replay,
    user: UserId,
}

impl World {
    /// A user with three events.
    async fn new() -> Self {
        #[derive(Deserialize)]
        struct Defaults {
            delivery: crate::delivery::Config,
        }
        let config = toml::from_str::<Defaults>(DEFAULT_TOML).unwrap().delivery;
        let pool = testing::database().await;
        let user = testing::user(&pool).await;
        let world = Self { replay: Replay::new(pool.clone(), &Arc::default(), &config), pool, user };
        world.append(3).await;
        world
    }

    async fn append(&self, count: usize) {
        for _ in 0..count {
            let event = NewEvent {
                id: EventId::generate(),
                user: self.user,
                kind: "TEST",
                body: r#"{"type":"TEST"}"#.into(),
                push: None,
                ttl: Duration::from_hours(1),
                trace: None,
            };
            let mut tx = self.pool.begin().await.unwrap();
            drop(outbox::append(&mut tx, vec![event]).await.unwrap());
            tx.commit().await.unwrap();
        }
    }

    /// As another server that takes over, or the first one.
    async fn begin_epoch(&self) -> EpochId {
        sqlx::query_scalar("SELECT epoch FROM enter_epoch($1)")
            .bind(i64::MAX)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    async fn age_everything(&self) {
        testing::back_date_events(&self.pool, BEYOND_RETENTION_HOURS).await;
        sqlx::query("UPDATE epochs SET began_at = began_at - make_interval(hours => $1)")
            .bind(BEYOND_RETENTION_HOURS)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    async fn settle_and_prune(&self) {
        outbox_settled(&self.pool).await;
        let retention = Duration::from_hours(72);
        outbox::prune(&self.pool, retention, 1_000).await.unwrap();
    }

    async fn start(&self, since: i64, epoch: Option<EpochId>) -> Start {
        self.replay.start(self.user, Cursor { since: Some(since), epoch }).await.unwrap().0
    }
}

async fn outbox_settled(pool: &PgPool) {
    sqlx::query(
        "UPDATE events SET outcome = 'delivered', reason = 'pong', settled_at = clock_timestamp()
         WHERE outcome IS NULL",
    )
    .execute(pool)
    .await
    .unwrap();
}

fn resync(reason: ResyncReason, last_seq: i64) -> Start {
    Start::Resync { reason, last_seq }
}

#[tokio::test]
async fn what_was_pruned_is_never_a_silent_gap() {
    let world = World::new().await;
    world.age_everything().await;
    world.settle_and_prune().await;
    world.append(2).await;

    assert_eq!(world.start(5, None).await, Start::Resume { after: 5 });
    assert_eq!(world.start(3, None).await, Start::Resume { after: 3 });
    assert_eq!(world.start(2, None).await, resync(ResyncReason::BeyondRetention, 5));
    assert_eq!(world.start(0, None).await, resync(ResyncReason::BeyondRetention, 5));
}

#[tokio::test]
async fn a_crowded_inbox_keeps_its_youngest_and_whatever_is_not_settled() {
    let world = World::new().await;
    outbox_settled(&world.pool).await;
    world.append(2).await;

    assert_eq!(outbox::prune_crowded(&world.pool, 3, 1_000).await.unwrap(), 2);
    assert_eq!(outbox::prune_crowded(&world.pool, 1, 1_000).await.unwrap(), 1);
    assert_eq!(outbox::prune_crowded(&world.pool, 0, 1_000).await.unwrap(), 0);

    assert_eq!(world.start(3, None).await, Start::Resume { after: 3 });
    assert_eq!(world.start(2, None).await, resync(ResyncReason::BeyondRetention, 5));
}

#[tokio::test]
async fn a_client_goes_on_only_from_what_both_pasts_share() {
    let world = World::new().await;
    let first = world.begin_epoch().await;
    world.append(1).await;
    assert_eq!(world.start(4, Some(first)).await, Start::Resume { after: 4 });

    let second = world.begin_epoch().await;
    world.append(2).await;

    for (since, epoch, expected) in [
        (0, first, Start::Resume { after: 0 }),
        (4, first, Start::Resume { after: 4 }),
        (5, first, resync(ResyncReason::AnotherPast, 6)),
        (6, first, resync(ResyncReason::AnotherPast, 6)),
        (7, first, resync(ResyncReason::AheadOfServer, 6)),
        (6, second, Start::Resume { after: 6 }),
        // An epoch that was lost, too.
        (2, EpochId(uuid::Uuid::new_v4()), resync(ResyncReason::AnotherPast, 6)),
    ] {
        assert_eq!(world.start(since, Some(epoch)).await, expected, "{since} {epoch:?}");
    }
    // Who does not say where it has been is believed.
    assert_eq!(world.start(6, None).await, Start::Resume { after: 6 });
}

#[tokio::test]
async fn what_is_not_kept_any_more_counts_as_shared_while_the_epoch_is_young() {
    let world = World::new().await;
    let first = world.begin_epoch().await;
    world.age_everything().await;
    world.settle_and_prune().await;

    world.begin_epoch().await;
    assert_eq!(world.start(3, Some(first)).await, Start::Resume { after: 3 });

    // By now it may stand where another one was lost.
    world.age_everything().await;
    assert_eq!(world.start(3, Some(first)).await, resync(ResyncReason::AnotherPast, 3));
}
