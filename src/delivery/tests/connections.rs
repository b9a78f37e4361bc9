//! What reaches the connections of a node, and how the cluster knows of them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::{BOUNDS, World, mailbox, token, until};
use crate::delivery::mailbox::{Farewell, Numbered};
use crate::delivery::membership::{Listeners, Membership};
use crate::delivery::reconcile::{BrokerHealth, Reconciler};
use crate::delivery::registry::Registry;
use crate::delivery::route::Turn;
use crate::domain::ids::{ConnectionId, EventId, NodeId, UserId};
use crate::ports::broker::Broker as _;
use crate::ports::presence::{Entry, Presence as _, Renewal};

impl World {
    /// Another node of the same cluster.
    pub fn twin(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            config: self.config.clone(),
            push: Arc::clone(&self.push),
            registry: Arc::default(),
            presence: Arc::clone(&self.presence),
            bus: Arc::clone(&self.bus),
            node: NodeId::generate(),
            shutdown: self.shutdown.clone(),
        }
    }

    fn reconciler(&self) -> Reconciler {
        Reconciler {
            pool: self.pool.clone(),
            registry: Arc::clone(&self.registry),
            health: Arc::new(BrokerHealth::default()),
            interval: Duration::from_secs(30),
        }
    }

    async fn member(&self) -> Arc<Membership> {
        let membership = Membership::new(
            self.node,
            Arc::clone(&self.registry),
            Arc::clone(&self.presence) as _,
            self.broker(),
            Arc::new(BrokerHealth::default()),
            self.fallback(),
        );
        membership.start(Listeners::none(), &self.shutdown);
        let probe = self.broker();
        until("the node listens", async || probe.probe().await.is_ok()).await;
        until("its lease lives", async || {
            self.presence.renew_lease(self.node).await.unwrap() == Renewal::Kept
        })
        .await;
        membership
    }
}

fn numbered(seq: i64, bytes: usize) -> Numbered {
    Numbered { id: EventId::generate(), seq, frame: vec![0; bytes].into(), trace: None }
}

#[tokio::test]
async fn the_loss_of_the_last_event_is_found() {
    let world = World::new().await;
    let user = world.user().await;
    let (behind, abreast) = (mailbox(user, None), mailbox(user, None));
    world.registry.insert(&behind);
    world.registry.insert(&abreast);
    world.tell(user).await;
    abreast.set_sent_seq(1);

    world.reconciler().compare().await.unwrap();

    assert_eq!(behind.collect().await.newest_seq, 1);
    assert!(abreast.collect().now_or_never().is_none());
}

#[tokio::test]
async fn a_connection_that_is_ahead_of_postgres_is_sent_to_resume() {
    let world = World::new().await;
    let user = world.user().await;
    let ahead = mailbox(user, None);
    world.registry.insert(&ahead);
    world.tell(user).await;
    ahead.set_sent_seq(7);

    world.reconciler().compare().await.unwrap();

    assert_eq!(ahead.collect().await.farewell, Some(Farewell::Leaving));
}

#[tokio::test]
async fn a_comparison_that_failed_is_repeated_soon() {
    let world = World::new().await;
    let user = world.user().await;
    let behind = mailbox(user, None);
    world.registry.insert(&behind);
    world.tell(user).await;
    let mut blocked = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE inboxes").execute(&mut *blocked).await.unwrap();
    let reconciler = Reconciler { interval: Duration::from_hours(1), ..world.reconciler() };
    // One comparison, and the next one in an hour.
    reconciler.health.set(true);
    world.shutdown.spawn("reconciler", reconciler.run(world.shutdown.clone()));

    until("the comparison has failed", async || {
        let ended: Vec<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_all(&world.pool)
        .await
        .unwrap();
        !ended.is_empty()
    })
    .await;
    blocked.rollback().await.unwrap();

    let mail = tokio::time::timeout(super::PATIENCE, behind.collect()).await.unwrap();
    assert_eq!(mail.newest_seq, 1);
}

#[tokio::test]
async fn a_missed_event_is_pushed_and_the_void_entry_removed() {
    let world = World::new().await;
    let user = world.user().await;
    world.device(user, "phone").await;
    let other = world.twin();
    let _member = other.member().await;
    let void = Entry { user, connection: ConnectionId::generate(), node: other.node };
    world.presence.enter(&[void]).await.unwrap();

    let event = world.event(user).await;
    world.route().send(&[event], Turn::First).await;

    world.until_outcomes(user, &["pushed"]).await;
    assert_eq!(world.pushed(), [token(user, "phone")]);
    assert!(world.presence.connections_of(user).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_missed_event_of_a_user_who_moved_is_not_pushed() {
    let world = World::new().await;
    let user = world.user().await;
    world.device(user, "phone").await;
    let (old, new) = (world.twin(), world.twin());
    let (_old, new_member) = (old.member().await, new.member().await);
    let void = Entry { user, connection: ConnectionId::generate(), node: old.node };
    world.presence.enter(std::slice::from_ref(&void)).await.unwrap();
    let here = mailbox(user, None);
    new_member.enter(&here, 1).await.unwrap();

    let event = world.event(user).await;
    world.route().send(&[event], Turn::First).await;

    assert_eq!(here.collect().await.events.len(), 1);
    until("the void entry is removed", async || {
        !world.presence.connections_of(user).await.unwrap().contains(&void)
    })
    .await;
    assert_eq!(world.outcomes(user).await, [None]);
    assert!(world.pushed().is_empty());
}

#[tokio::test]
async fn a_node_that_was_taken_for_dead_enters_its_connections_again() {
    let world = World::new().await;
    let member = world.member().await;
    let connection = mailbox(world.user().await, None);
    member.enter(&connection, 1).await.unwrap();
    let entry = connection.entry(world.node);

    // Frozen beyond its lease: somebody met its entries, and removed them as void.
    world.presence.release_lease(world.node).await.unwrap();
    world.presence.leave(std::slice::from_ref(&entry)).await.unwrap();

    until("the connection is known again", async || {
        world.presence.connections_of(connection.user).await.unwrap() == [entry.clone()]
    })
    .await;
}

#[test]
fn a_full_mailbox_ends_its_connection() {
    let user = UserId::generate();
    let by_count = mailbox(user, None);
    for seq in 1..=i64::try_from(BOUNDS.frames_max).unwrap() + 1 {
        by_count.offer(numbered(seq, 1));
    }
    let by_bytes = mailbox(user, None);
    by_bytes.offer(numbered(1, BOUNDS.bytes_max));
    by_bytes.offer(numbered(2, 1));
    for mailbox in [by_count, by_bytes] {
        let mail = mailbox.collect().now_or_never().unwrap();
        assert_eq!((mail.farewell, mail.events.len()), (Some(Farewell::SlowConsumer), 0));
    }
}

#[test]
fn a_collected_mailbox_has_room_again() {
    let mailbox = mailbox(UserId::generate(), None);
    for seq in 1..=20 {
        mailbox.offer(numbered(seq, BOUNDS.bytes_max));
        let mail = mailbox.collect().now_or_never().unwrap();
        assert_eq!((mail.farewell, mail.newest_seq), (None, seq));
    }
}

#[test]
fn what_was_sent_already_does_not_fill_the_mailbox() {
    let mailbox = mailbox(UserId::generate(), None);
    mailbox.set_sent_seq(5);
    for _ in 0..100 {
        mailbox.offer(numbered(5, 100));
    }
    assert!(mailbox.collect().now_or_never().is_none());
    mailbox.offer(numbered(6, 100));
    assert_eq!(mailbox.collect().now_or_never().unwrap().events.len(), 1);
}

#[test]
fn the_first_reason_to_end_a_connection_counts() {
    let mailbox = mailbox(UserId::generate(), None);
    mailbox.close(Farewell::Revoked);
    mailbox.close(Farewell::Leaving);
    assert_eq!(mailbox.collect().now_or_never().unwrap().farewell, Some(Farewell::Revoked));
}

#[test]
fn the_registry_forgets_whom_it_was_told_to_and_nobody_else() {
    let registry = Registry::default();
    let user = UserId::generate();
    let (one, other, stranger) =
        (mailbox(user, None), mailbox(user, None), mailbox(UserId::generate(), None));
    for mailbox in [&one, &other, &stranger] {
        registry.insert(mailbox);
    }

    registry.remove(&one);
    registry.remove(&one);

    assert_eq!(registry.len(), 2);
    assert!(!registry.contains(user, one.connection));
    assert!(registry.contains(user, other.connection));
    registry.close_session(user, other.session);
    assert_eq!(other.collect().now_or_never().unwrap().farewell, Some(Farewell::Revoked));
    assert!(stranger.collect().now_or_never().is_none());
}

#[test]
fn a_newer_connection_replaces_older_ones_of_its_device_only() {
    let registry = Registry::default();
    let user = UserId::generate();
    let old = mailbox(user, Some("phone"));
    let (tablet, unnamed) = (mailbox(user, Some("tablet")), mailbox(user, None));
    let new = mailbox(user, Some("phone"));
    for mailbox in [&old, &tablet, &unnamed, &new] {
        registry.insert(mailbox);
    }

    registry.replace_device(user, "phone", new.connection);
    // The word of the older one comes late.
    registry.replace_device(user, "phone", old.connection);

    assert_eq!(old.collect().now_or_never().unwrap().farewell, Some(Farewell::Replaced));
    for stays in [tablet, unnamed, new] {
        assert!(stays.collect().now_or_never().is_none());
    }
}
