//! What becomes of a conversation when the account of somebody in it is deleted.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::{add, create, id, join, made, path, roles};
use crate::domain::ids::UserId;
use crate::features::channels::purge::purge_batch;
use crate::features::fixture::World;

async fn vanish(world: &World, user: UserId) {
    sqlx::query("DELETE FROM users WHERE id = $1").bind(user.0).execute(&world.pool).await.unwrap();
}

#[tokio::test]
async fn when_the_owner_vanishes_the_first_admin_takes_over_or_else_the_first_member() {
    let world = World::new().await;
    let mut people = Vec::new();
    for _ in 0..5 {
        people.push(world.user(None).await);
    }
    let [owner, member, first, second, last] = people[..] else { unreachable!() };
    let channel = made(&world, owner, json!({"name": "general"})).await;
    for (user, role) in [(member, "member"), (first, "admin"), (second, "admin"), (last, "member")] {
        world.clock.advance(Duration::from_secs(1));
        assert_eq!(add(&world, owner, channel, user, role).await.status, StatusCode::CREATED);
    }
    let role = async |user| {
        let roles = roles(&world, channel).await;
        roles.into_iter().find(|(member, _)| *member == user).map(|(_, role)| role)
    };

    vanish(&world, owner).await;

    assert_eq!(role(first).await.unwrap(), "owner");
    assert_eq!(role(second).await.unwrap(), "admin");
    let shown = world.get(member, &path(channel)).await.body;
    assert_eq!((&shown["memberCount"], &shown["createdBy"]), (&json!(4), &Value::Null));

    vanish(&world, second).await;
    assert_eq!(role(first).await.unwrap(), "owner", "nothing changes when somebody else vanishes");
    vanish(&world, first).await;
    assert_eq!(role(member).await.unwrap(), "owner");
    assert_eq!(role(last).await.unwrap(), "member");
    assert_eq!(world.delete(member, &path(channel)).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn of_two_owners_the_other_one_stays_alone() {
    let world = World::new().await;
    let (ann, bob, cid) = (world.user(None).await, world.user(None).await, world.user(None).await);
    let channel = made(&world, ann, json!({"name": "general"})).await;
    add(&world, ann, channel, bob, "owner").await;
    add(&world, ann, channel, cid, "admin").await;

    vanish(&world, ann).await;

    let mut left = [(bob, "owner".to_owned()), (cid, "admin".to_owned())];
    left.sort();
    assert_eq!(roles(&world, channel).await, left);
}

#[tokio::test]
async fn with_its_last_member_a_conversation_is_deleted() {
    let world = World::new().await;
    let (ann, bob) = (world.user(None).await, world.user(None).await);
    let channel = made(&world, ann, json!({"name": "general"})).await;
    let direct = id(&create(&world, ann, json!({"kind": "direct", "userId": bob})).await.body);

    vanish(&world, ann).await;

    assert_eq!(world.get(bob, &path(channel)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(join(&world, bob, channel).await.status, StatusCode::NOT_FOUND);
    made(&world, bob, json!({"name": "general"})).await;
    let kept = world.get(bob, &path(direct)).await.body;
    assert_eq!((&kept["memberCount"], &kept["createdBy"]), (&json!(1), &Value::Null), "what was said stays");
    assert_eq!(roles(&world, direct).await, [(bob, "member".to_owned())], "nobody owns it");

    vanish(&world, bob).await;
    while purge_batch(&world.pool, 10).await.unwrap() {}
    assert_eq!(world.count("SELECT count(*) FROM channels").await, 0);
}
