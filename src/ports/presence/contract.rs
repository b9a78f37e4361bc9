//! What every presence must do, asked of each adapter.

use std::sync::Arc;
use std::time::Duration;

use super::marks::{Device, Found, Mark, Marks, MemoryMarks, RedisMarks};
use super::{Entry, MemoryPresence, Presence, RedisPresence};
use crate::dev::testing::redis_url;
use crate::domain::ids::{ChannelId, ConnectionId, NodeId, UserId};
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

async fn marks_suite(presence: &dyn Presence, marks: &dyn Marks) {
    what_a_connection_says_counts_as_long_as_it_lives(presence, marks).await;
    many_users_are_found_at_once(presence, marks).await;
    a_node_without_a_lease_is_silent(presence, marks).await;
    who_left_a_node_a_moment_ago_is_gone_for_certain_only_to_that_node(presence, marks).await;
}

async fn what_a_connection_says_counts_as_long_as_it_lives(presence: &dyn Presence, marks: &dyn Marks) {
    let entry = entry(living_node(presence).await);
    let found = async || marks.find(entry.node, &[entry.user]).await.unwrap().remove(0).devices;
    let said = Mark { is_away: true, viewing: Some(ChannelId::generate()) };
    let device = |mark| Device { connection: entry.connection, node: entry.node, mark };

    presence.enter(std::slice::from_ref(&entry)).await.unwrap();
    assert_eq!(found().await, [device(Mark::default())]);
    marks.set(&[(entry.clone(), Mark { is_away: true, viewing: None })]).await.unwrap();
    marks.set(&[(entry.clone(), said)]).await.unwrap();
    assert_eq!(found().await, [device(said)]);
    presence.leave(std::slice::from_ref(&entry)).await.unwrap();
    assert_eq!(found().await, []);

    presence.enter(std::slice::from_ref(&entry)).await.unwrap();
    marks.set(&[(entry.clone(), said), (entry.clone(), Mark::default())]).await.unwrap();
    assert_eq!(found().await, [device(Mark::default())]);
    marks.set(&[]).await.unwrap();
}

async fn many_users_are_found_at_once(presence: &dyn Presence, marks: &dyn Marks) {
    let (here, there) = (living_node(presence).await, living_node(presence).await);
    let entries: Vec<Entry> = (0..450).map(|number| entry([here, there][number % 2])).collect();
    presence.enter(&entries[..449]).await.unwrap();
    let users: Vec<UserId> = entries.iter().map(|entry| entry.user).collect();
    let found = marks.find(here, &users).await.unwrap();
    assert_eq!(found.iter().map(|it| it.user).collect::<Vec<_>>(), users);
    for (entry, found) in entries.iter().zip(&found[..449]) {
        let device = Device { connection: entry.connection, node: entry.node, mark: Mark::default() };
        assert_eq!(*found, Found { user: entry.user, devices: vec![device], is_certain: true });
    }
    assert_eq!(found[449], Found { user: users[449], devices: Vec::new(), is_certain: true });
    assert_eq!(marks.find(here, &[]).await.unwrap(), []);
}

async fn who_left_a_node_a_moment_ago_is_gone_for_certain_only_to_that_node(
    presence: &dyn Presence,
    marks: &dyn Marks,
) {
    let (left, other, user) = (living_node(presence).await, living_node(presence).await, UserId::generate());
    let is_certain = async |asker: NodeId| marks.find(asker, &[user]).await.unwrap().remove(0).is_certain;
    assert!(is_certain(other).await);
    marks.linger(left, &[(user, PATIENCE)]).await.unwrap();
    assert!(is_certain(left).await && !is_certain(other).await);
    marks.linger(left, &[(user, Duration::ZERO)]).await.unwrap();
    marks.linger(left, &[]).await.unwrap();
    let ends = async { while !is_certain(other).await {} };
    tokio::time::timeout(PATIENCE, ends).await.expect("a moment ends");
}

async fn a_node_without_a_lease_is_silent(presence: &dyn Presence, marks: &dyn Marks) {
    let (living, stranger) = (living_node(presence).await, NodeId::generate());
    let silent = marks.silent(&[living, stranger]).await.unwrap();
    assert_eq!(silent.iter().map(|it| it.node).collect::<Vec<_>>(), [stranger]);
    assert_eq!(marks.silent(&[]).await.unwrap(), []);
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
    let presence = Arc::<MemoryPresence>::default();
    suite(&*presence).await;
    marks_suite(&*presence, &MemoryMarks::new(Arc::clone(&presence))).await;
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let link = RedisLink::for_test(&redis_url().await, &unique_prefix());
    let (presence, marks) = (RedisPresence::new(link.clone()), RedisMarks::new(link));
    suite(&presence).await;
    marks_suite(&presence, &marks).await;
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

#[tokio::test]
async fn what_a_connection_said_is_removed_by_whoever_meets_it_later() {
    let link = RedisLink::for_test(&redis_url().await, &unique_prefix());
    let (presence, marks) = (RedisPresence::new(link.clone()), RedisMarks::new(link.clone()));
    let entry = entry(living_node(&presence).await);
    marks.set(&[(entry.clone(), Mark { is_away: true, viewing: None })]).await.unwrap();
    assert_eq!(marks.find(entry.node, &[entry.user]).await.unwrap()[0].devices, []);
    let mut redis = crate::dev::redis::connect(&link.client()).await.unwrap();
    let exists =
        redis::cmd("EXISTS").arg(link.key("marks", entry.user)).query_async::<bool>(&mut redis).await;
    assert!(!exists.unwrap());
}

#[tokio::test]
async fn of_a_node_that_is_silent_and_of_a_redis_without_a_memory_nothing_is_certain() {
    let (url, prefix) = (redis_url().await, unique_prefix());
    let config =
        Config { lease_ms: 50, warmup_ms: 60_000, ..RedisLink::for_test(&url, &prefix).config().clone() };
    let link = RedisLink::new(config).unwrap();
    let (presence, marks) = (RedisPresence::new(link.clone()), RedisMarks::new(link));
    let entry = entry(NodeId::generate());
    let nobody = marks.find(entry.node, &[entry.user]).await.unwrap().remove(0);
    assert_eq!((nobody.devices.len(), nobody.is_certain), (0, false), "it has no memory at all");
    assert!(marks.silent(&[entry.node]).await.is_err());

    presence.enter(std::slice::from_ref(&entry)).await.unwrap();
    presence.renew_lease(entry.node).await.unwrap();
    let silent = async {
        loop {
            let found = marks.find(entry.node, &[entry.user]).await.unwrap().remove(0);
            if found.devices.is_empty() {
                return found.is_certain;
            }
        }
    };
    let is_certain = tokio::time::timeout(PATIENCE, silent).await.expect("a lease of 50 ms ends");
    assert!(!is_certain, "its node may come back");
}
