//! What every presence must do, asked of each adapter.

use std::sync::Arc;
use std::time::Duration;

use super::{Entry, MemoryPresence, Presence, RedisPresence};
use crate::dev::testing::redis_url;
use crate::domain::ids::{ConnectionId, NodeId, UserId};
use crate::ports::redis::{Config, RedisLink};

const PATIENCE: Duration = Duration::from_secs(20);

async fn suite(presence: &dyn Presence) {
    entering_twice_is_entering_once(presence).await;
    leaving_removes_exactly_that_connection(presence).await;
    leaving_twice_or_without_having_entered_is_no_error(presence).await;
    departing_removes_exactly_that_connection(presence).await;
    entries_without_a_lease_are_void_and_removed(presence).await;
    a_released_lease_voids_all_entries_of_its_node_and_no_other(presence).await;
    a_batch_may_be_empty_or_hold_many_users(presence).await;
}

async fn entering_twice_is_entering_once(presence: &dyn Presence) {
    let entry = entry(living_node(presence).await);
    presence.enter(std::slice::from_ref(&entry)).await.unwrap();
    presence.enter(&[entry.clone(), entry.clone()]).await.unwrap();
    assert_eq!(connections_of(presence, entry.user).await, [entry]);
}

async fn leaving_removes_exactly_that_connection(presence: &dyn Presence) {
    let node = living_node(presence).await;
    let older = entry(node);
    let newer = Entry { connection: ConnectionId::generate(), ..older.clone() };
    presence.enter(&[older.clone(), newer.clone()]).await.unwrap();
    presence.leave(std::slice::from_ref(&older)).await.unwrap();
    assert_eq!(connections_of(presence, older.user).await, [newer]);
}

async fn leaving_twice_or_without_having_entered_is_no_error(presence: &dyn Presence) {
    let entry = entry(living_node(presence).await);
    presence.leave(std::slice::from_ref(&entry)).await.unwrap();
    presence.enter(std::slice::from_ref(&entry)).await.unwrap();
    presence.leave(&[entry.clone(), entry.clone()]).await.unwrap();
    presence.leave(std::slice::from_ref(&entry)).await.unwrap();
    assert_eq!(connections_of(presence, entry.user).await, []);
}

async fn departing_removes_exactly_that_connection(presence: &dyn Presence) {
    let [gone, stays] = [entry(living_node(presence).await), entry(living_node(presence).await)];
    let stays = Entry { user: gone.user, ..stays };
    presence.enter(&[gone.clone(), stays.clone()]).await.unwrap();
    presence.depart(std::slice::from_ref(&gone)).await.unwrap();
    presence.depart(&[]).await.unwrap();
    assert_eq!(connections_of(presence, gone.user).await, [stays]);
}

async fn entries_without_a_lease_are_void_and_removed(presence: &dyn Presence) {
    let living = entry(living_node(presence).await);
    let void = Entry { connection: ConnectionId::generate(), node: NodeId::generate(), ..living.clone() };
    presence.enter(&[void.clone(), living.clone()]).await.unwrap();
    assert_eq!(connections_of(presence, living.user).await, std::slice::from_ref(&living));
    // A lease that comes too late does not bring back what was removed.
    presence.renew_lease(void.node).await.unwrap();
    assert_eq!(connections_of(presence, living.user).await, [living]);
}

async fn a_released_lease_voids_all_entries_of_its_node_and_no_other(presence: &dyn Presence) {
    let (leaving, staying) = (living_node(presence).await, living_node(presence).await);
    let [gone, also_gone, stays] = [leaving, leaving, staying].map(entry);
    presence.enter(&[gone.clone(), also_gone.clone(), stays.clone()]).await.unwrap();
    presence.release_lease(leaving).await.unwrap();
    assert_eq!(connections_of(presence, gone.user).await, []);
    assert_eq!(connections_of(presence, also_gone.user).await, []);
    assert_eq!(connections_of(presence, stays.user).await, [stays]);
    presence.release_lease(leaving).await.unwrap();
}

async fn a_batch_may_be_empty_or_hold_many_users(presence: &dyn Presence) {
    presence.enter(&[]).await.unwrap();
    presence.leave(&[]).await.unwrap();
    let node = living_node(presence).await;
    let entries: Vec<Entry> = (0..500).map(|_| entry(node)).collect();
    presence.enter(&entries).await.unwrap();
    for entry in &entries {
        assert_eq!(connections_of(presence, entry.user).await, std::slice::from_ref(entry));
    }
}

/// A user's connections in the order in which they were opened.
async fn connections_of(presence: &dyn Presence, user: UserId) -> Vec<Entry> {
    let mut entries = presence.connections_of(user).await.unwrap();
    entries.sort_by_key(|entry| entry.connection);
    entries
}

async fn living_node(presence: &dyn Presence) -> NodeId {
    let node = NodeId::generate();
    presence.renew_lease(node).await.unwrap();
    node
}

fn entry(node: NodeId) -> Entry {
    Entry { user: UserId::generate(), connection: ConnectionId::generate(), node }
}

fn unique_prefix() -> String {
    uuid::Uuid::now_v7().to_string()
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    suite(&MemoryPresence::default()).await;
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let link = RedisLink::for_test(&redis_url().await, &unique_prefix());
    suite(&RedisPresence::new(link)).await;
}

#[tokio::test]
async fn nodes_see_each_others_connections() {
    let (url, prefix) = (redis_url().await, unique_prefix());
    let [here, there]: [Arc<dyn Presence>; 2] =
        [(), ()].map(|()| Arc::new(RedisPresence::new(RedisLink::for_test(&url, &prefix))) as _);
    let entry = entry(living_node(&*here).await);
    here.enter(std::slice::from_ref(&entry)).await.unwrap();
    assert_eq!(connections_of(&*there, entry.user).await, [entry]);
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_runs_out() {
    let config =
        Config { lease_ms: 50, ..RedisLink::for_test(&redis_url().await, &unique_prefix()).config().clone() };
    let presence = RedisPresence::new(RedisLink::new(config).unwrap());
    let entry = entry(living_node(&presence).await);
    presence.enter(std::slice::from_ref(&entry)).await.unwrap();
    let ends = async { while !connections_of(&presence, entry.user).await.is_empty() {} };
    tokio::time::timeout(PATIENCE, ends).await.expect("a lease of 50 ms ends");
}

#[tokio::test]
async fn what_redis_forgot_can_be_entered_again() {
    let link = RedisLink::for_test(&redis_url().await, &unique_prefix());
    let presence = RedisPresence::new(link.clone());
    let entry = entry(living_node(&presence).await);
    presence.enter(std::slice::from_ref(&entry)).await.unwrap();
    let mut redis = crate::dev::redis::connect(&link.client()).await.unwrap();
    for key in [link.key("presence", entry.user), link.key("lease", entry.node)] {
        redis::cmd("DEL").arg(key).query_async::<()>(&mut redis).await.unwrap();
    }
    assert_eq!(connections_of(&presence, entry.user).await, []);
    presence.renew_lease(entry.node).await.unwrap();
    presence.enter(std::slice::from_ref(&entry)).await.unwrap();
    assert_eq!(connections_of(&presence, entry.user).await, [entry]);
}
