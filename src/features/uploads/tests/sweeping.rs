//! What is over goes, its blob before its row, whoever dies in between; and nothing else does.

use std::time::Duration;

use serde_json::Value;

use super::{PNG, attach, fetch, path, picture, rows};
use crate::domain::clock::Clock as _;
use crate::domain::ids::{UploadId, UserId};
use crate::features::fixture::World;
use crate::features::messages::tests::{channel_of, couple, path as message_path};
use crate::features::uploads::repository::{self, Coming, Reserved};
use crate::features::uploads::sweep::ABANDONED_AFTER;

const DAY: Duration = Duration::from_hours(24);
const ALMOST_A_DAY: Duration = Duration::from_secs(86_399);

/// Whether the store has it, whoever may read it.
async fn is_kept(world: &World, upload: &Value) -> bool {
    let id: UploadId = upload["id"].as_str().unwrap().parse().unwrap();
    world.uploads.blobs().unwrap().read(id.0, 0..1).await.is_ok()
}

#[tokio::test]
async fn a_file_that_nobody_attaches_goes_after_a_day_and_one_of_a_message_stays() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let (lone, kept) = (picture(&world, ann).await, picture(&world, ann).await);
    assert_eq!(attach(&world, ann, channel, &[&kept]).await.status, 201);

    world.clock.advance(ALMOST_A_DAY);
    assert!(!world.uploads.sweep_batch().await.unwrap());
    assert_eq!(fetch(&world, ann, &lone, &[]).await.2, PNG);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(fetch(&world, ann, &lone, &[]).await.0, 404);
    assert_eq!(attach(&world, ann, channel, &[&lone]).await.error(), "unknown_upload");
    world.uploads.sweep_batch().await.unwrap();

    assert!(!is_kept(&world, &lone).await);
    assert_eq!(rows(&world).await, 1);
    assert_eq!(fetch(&world, ben, &kept, &[]).await.2, PNG);
}

#[tokio::test]
async fn the_files_of_what_is_deleted_go_whichever_way_it_was_deleted() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let other = channel_of(&world, &[ann]).await;
    let mut files = Vec::new();
    for place in [channel, other] {
        let file = picture(&world, ann).await;
        files.push((attach(&world, ann, place, &[&file]).await.body, file));
    }
    let of_ben = picture(&world, ben).await;
    attach(&world, ben, channel, &[&of_ben]).await;
    let (lone, deleted) = (picture(&world, ben).await, picture(&world, ann).await);

    world.delete(ann, &message_path(&files[0].0)).await;
    world.delete(ann, &format!("/channels/{other}")).await;
    assert_eq!(world.delete(ann, &path(&deleted)).await.status, 204);
    sqlx::query("DELETE FROM users WHERE id = $1").bind(ben.0).execute(&world.pool).await.unwrap();
    // As the purge of channels does in the end.
    sqlx::query("DELETE FROM channels WHERE deleted_at IS NOT NULL").execute(&world.pool).await.unwrap();
    world.uploads.sweep_batch().await.unwrap();

    for gone in [&files[0].1, &files[1].1, &deleted] {
        assert!(!is_kept(&world, gone).await);
    }
    // The message of an account that is gone stays, and so does its file. What it had not attached waits for its end.
    assert_eq!(fetch(&world, ann, &of_ben, &[]).await.2, PNG);
    assert_eq!(rows(&world).await, 2);
    world.clock.advance(DAY);
    world.uploads.sweep_batch().await.unwrap();
    assert!(!is_kept(&world, &lone).await);
    assert_eq!(rows(&world).await, 1);
}

#[tokio::test]
async fn a_sweep_that_died_is_finished_by_another_and_meanwhile_nobody_uses_the_file() {
    let world = World::new().await;
    let (ann, _, channel) = couple(&world).await;
    let [one, two] = [picture(&world, ann).await, picture(&world, ann).await];
    world.delete(ann, &path(&one)).await;
    world.delete(ann, &path(&two)).await;

    // Dies with the files marked; then with the first blob gone.
    let doomed = world.uploads.doom().await.unwrap();
    assert_eq!(doomed.len(), 2);
    let removed = world.uploads.remove(&doomed[..1]).await.unwrap();
    assert_eq!(removed, doomed[..1]);

    assert_eq!(attach(&world, ann, channel, &[&one]).await.error(), "unknown_upload");
    assert_eq!(fetch(&world, ann, &two, &[]).await.0, 404);
    assert!(world.uploads.doom().await.unwrap().is_empty(), "somebody is at it");
    world.clock.advance(ABANDONED_AFTER);
    world.uploads.sweep_batch().await.unwrap();
    assert_eq!(rows(&world).await, 0);
    assert!(!is_kept(&world, &one).await && !is_kept(&world, &two).await);
}

/// As a node leaves it that dies while it receives a file.
async fn begun(world: &World, user: UserId) -> UploadId {
    let (id, now) = (UploadId::generate(), world.clock.now());
    let coming = Coming {
        id,
        user,
        name: "a.png",
        content_type: "image/png",
        bytes: 100,
        now,
        expires_at: now + Duration::from_mins(10),
    };
    assert_eq!(repository::reserve(&world.pool, &coming, i64::MAX).await.unwrap(), Reserved::Kept);
    id
}

#[tokio::test]
async fn what_a_node_left_that_died_goes_when_nobody_can_be_receiving_it() {
    let world = World::new().await;
    let ann = world.user(None).await;
    let id = begun(&world, ann).await;
    // Its blob was whole, but nobody had written that down.
    let mut writing = world.uploads.blobs().unwrap().begin(id.0);
    writing.write(PNG).await.unwrap();
    writing.finish().await.unwrap();

    world.uploads.sweep_batch().await.unwrap();
    assert_eq!(rows(&world).await, 1);
    world.clock.advance(Duration::from_mins(10));
    world.uploads.sweep_batch().await.unwrap();

    assert_eq!(rows(&world).await, 0);
    assert!(world.uploads.blobs().unwrap().read(id.0, 0..1).await.is_err());
}

#[tokio::test]
async fn a_sweep_does_not_wait_for_the_deletion_of_an_account() {
    let world = World::new().await;
    let ann = world.user(None).await;
    let id = begun(&world, ann).await;
    let mut deletion = world.pool.begin().await.unwrap();
    sqlx::query("DELETE FROM users WHERE id = $1").bind(ann.0).execute(&mut *deletion).await.unwrap();

    assert_eq!(repository::forget(&world.pool, &[id.0]).await.unwrap(), 0);

    deletion.commit().await.unwrap();
    assert_eq!(repository::forget(&world.pool, &[id.0]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_batch_says_whether_there_may_be_more() {
    let world = World::with(|sections| sections.uploads.sweep_batch_max = 2).await;
    let ann = world.user(None).await;
    for _ in 0..3 {
        begun(&world, ann).await;
    }
    world.clock.advance(DAY);
    assert!(world.uploads.sweep_batch().await.unwrap());
    assert!(!world.uploads.sweep_batch().await.unwrap());
    assert_eq!(rows(&world).await, 0);
}
