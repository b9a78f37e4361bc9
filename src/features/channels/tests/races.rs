//! What happens when two do something at the same time.

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;

use super::{add, create, id, join, made, path, remove, roles};
use crate::domain::ids::{ChannelId, UserId};
use crate::domain::random;
use crate::features::channels::{Operation, access_locked};
use crate::features::fixture::{Answer, World, kinds};

async fn people(world: &World, count: usize) -> Vec<UserId> {
    join_all((0..count).map(|_| world.user(None))).await
}

/// How many of these answers have this status; all others must have the other one.
#[track_caller]
fn won(answers: &[Answer], status: u16, other: u16) -> usize {
    let statuses = answers.iter().map(|answer| answer.status.as_u16());
    assert!(statuses.clone().all(|it| it == status || it == other), "{answers:?}");
    statuses.filter(|it| *it == status).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_take_the_same_name_at_once_one_gets_it() {
    let world = World::new().await;
    let users = people(&world, 10).await;

    let answers = join_all(users.iter().map(|user| create(&world, *user, json!({"name": "general"})))).await;

    assert_eq!(won(&answers, 201, 409), 1);
    assert_eq!(world.count("SELECT count(*) FROM channels").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM channel_members").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM events").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_rename_to_the_same_name_at_once_do_not_both_get_it() {
    let world = World::new().await;
    let ann = world.user(None).await;
    let one = made(&world, ann, json!({"name": "one"})).await;
    let other = made(&world, ann, json!({"name": "other"})).await;

    let rename = async |channel: ChannelId| {
        world.send_json(ann, "PUT", &path(channel), &json!({"name": "same"})).await
    };
    let answers = tokio::join!(rename(one), rename(other));

    assert_eq!(won(&[answers.0, answers.1], 200, 409), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_taken_in_by_many_at_once_is_taken_in_and_told_once() {
    let world = World::new().await;
    let users = people(&world, 8).await;
    let (ann, admins, bob) = (users[0], &users[1..7], users[7]);
    let channel = made(&world, ann, json!({"name": "general"})).await;
    for admin in admins {
        add(&world, ann, channel, *admin, "admin").await;
    }

    let answers = join_all(admins.iter().map(|admin| add(&world, *admin, channel, bob, "member"))).await;

    assert_eq!(won(&answers, 201, 409), 1);
    assert_eq!(world.get(ann, &path(channel)).await.body["memberCount"], 8);
    assert_eq!(kinds(&world.told(bob).await), ["INVITED"]);
    assert_eq!(world.deadlocks().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_write_to_each_other_first_at_once_have_one_conversation() {
    let world = World::new().await;
    for _ in 0..10 {
        let (ann, bob) = (world.user(None).await, world.user(None).await);

        let (one, other) = tokio::join!(
            create(&world, ann, json!({"kind": "direct", "userId": bob})),
            create(&world, bob, json!({"kind": "direct", "userId": ann}))
        );

        assert_eq!(id(&one.body), id(&other.body));
        assert_eq!(won(&[one, other], 201, 200), 1);
        assert_eq!((world.told(ann).await.len(), world.told(bob).await.len()), (1, 1));
    }
    assert_eq!(world.deadlocks().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_join_at_once_as_many_get_in_as_there_is_room() {
    let world = World::with(|config| config.channels.members_max = 5).await;
    let users = people(&world, 12).await;
    let channel = made(&world, users[0], json!({"name": "general"})).await;

    let answers = join_all(users[1..].iter().map(|user| join(&world, *user, channel))).await;

    assert_eq!(won(&answers, 201, 409), 4);
    assert_eq!(roles(&world, channel).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_many_channels_at_once_is_in_as_many_as_one_may_be() {
    let world = World::with(|config| config.channels.memberships_per_user_max = 3).await;
    let users = people(&world, 8).await;
    let mut channels = Vec::new();
    for owner in &users[1..] {
        channels.push(made(&world, *owner, json!({"name": owner})).await);
    }

    let answers = join_all(channels.iter().map(|channel| join(&world, users[0], *channel))).await;

    assert_eq!(won(&answers, 201, 409), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_left_in_a_channel_that_is_deleted_while_people_come() {
    let world = World::new().await;
    let users = people(&world, 6).await;
    for _ in 0..5 {
        let channel = made(&world, users[0], json!({"name": "general"})).await;

        let (deleted, joined) = tokio::join!(
            async { world.delete(users[0], &path(channel)).await },
            join_all(users[1..].iter().map(|user| join(&world, *user, channel)))
        );

        assert_eq!(deleted.status, StatusCode::NO_CONTENT);
        won(&joined, 201, 404);
        assert!(roles(&world, channel).await.is_empty());
    }
    assert_eq!(world.count("SELECT sum(member_count) FROM channels").await, 0);
    assert_eq!(world.deadlocks().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_owners_who_leave_at_once_one_stays() {
    let world = World::new().await;
    let (ann, bob) = (world.user(None).await, world.user(None).await);
    for number in 0..10 {
        let channel = made(&world, ann, json!({"name": format!("channel {number}")})).await;
        add(&world, ann, channel, bob, "owner").await;

        let answers = tokio::join!(remove(&world, ann, channel, ann), remove(&world, bob, channel, bob));

        assert_eq!(won(&[answers.0, answers.1], 204, 403), 1);
        assert_eq!(roles(&world, channel).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_taken_out_first_cannot_act_although_they_asked_before_it_was_committed() {
    let world = World::new().await;
    let (ann, bob, cid) = (world.user(None).await, world.user(None).await, world.user(None).await);
    let channel = made(&world, ann, json!({"name": "general"})).await;
    add(&world, ann, channel, bob, "admin").await;
    // Ann takes Bob out, and has not committed yet.
    let mut tx = world.pool.begin().await.unwrap();
    let access = access_locked(&mut tx, ann, channel).await.unwrap().unwrap();
    access.allows(Operation::Delete).unwrap();
    sqlx::query("DELETE FROM channel_members WHERE user_id = $1")
        .bind(bob.0)
        .execute(&mut *tx)
        .await
        .unwrap();

    let commit = async {
        world.blocked(1).await;
        tx.commit().await.unwrap();
    };
    let (added, ()) = tokio::join!(add(&world, bob, channel, cid, "member"), commit);

    assert_eq!((added.status.as_u16(), added.error()), (403, "forbidden"));
    assert!(world.told(cid).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_deleted_waits_for_who_changes_its_conversations_and_holds_nobody_up() {
    let world = World::new().await;
    let (ann, bob) = (world.user(None).await, world.user(None).await);
    let channel = made(&world, ann, json!({"name": "general"})).await;
    join(&world, bob, channel).await;
    let mut tx = world.pool.begin().await.unwrap();
    access_locked(&mut tx, ann, channel).await.unwrap();

    let vanishing = sqlx::query("DELETE FROM users WHERE id = $1").bind(bob.0).execute(&world.pool);
    let removal = async {
        world.blocked(1).await;
        let remove = sqlx::query("DELETE FROM channel_members WHERE user_id = $1").bind(bob.0);
        remove.execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    };
    let (vanished, ()) = tokio::join!(vanishing, removal);

    assert_eq!(vanished.unwrap().rows_affected(), 1);
    assert_eq!(world.get(ann, &path(channel)).await.body["memberCount"], 1);
    assert_eq!(world.deadlocks().await, 0);
}

/// People make, change and leave conversations, take others in and out, and delete their accounts, all at once.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_at_once_the_numbers_are_right_and_there_is_an_owner() {
    const ROUNDS: usize = 25;
    let world = World::new().await;
    let users = people(&world, 12).await;
    let mut channels = Vec::new();
    for (number, user) in users.iter().take(4).enumerate() {
        channels.push(made(&world, *user, json!({"name": format!("channel {number}")})).await);
    }
    let act = async |user: UserId, dice: [u8; 3]| {
        let channel = channels[usize::from(dice[1]) % channels.len()];
        let other = users[usize::from(dice[2]) % users.len()];
        match dice[0] % 16 {
            0..=4 => join(&world, user, channel).await,
            5..=7 => {
                add(&world, user, channel, other, ["member", "admin", "owner"][usize::from(dice[2] % 3)])
                    .await
            }
            8..=9 => remove(&world, user, channel, other).await,
            10..=11 => remove(&world, user, channel, user).await,
            12 => create(&world, user, json!({"kind": "direct", "userId": other})).await,
            13 => create(&world, user, json!({"kind": "group", "name": "Trip", "userIds": [other]})).await,
            14 => world.send_json(user, "PUT", &path(channel), &json!({"description": "new"})).await,
            _ => world.get(user, &format!("{}/members", path(channel))).await,
        }
    };
    let vanishing = &users[8..];
    let lives = users.iter().map(|user| async {
        for round in 0..ROUNDS {
            if round == ROUNDS / 2 && vanishing.contains(user) {
                sqlx::query("DELETE FROM users WHERE id = $1")
                    .bind(user.0)
                    .execute(&world.pool)
                    .await
                    .unwrap();
            }
            let answer = act(*user, random::bytes()).await;
            assert!(!answer.status.is_server_error(), "{answer:?}");
        }
    });

    join_all(lives).await;

    let wrong = "SELECT count(*) FROM channels c
                 WHERE member_count <> (SELECT count(*) FROM channel_members m WHERE m.channel_id = c.id)
                    OR (kind <> 'direct' AND member_count > 0 AND NOT EXISTS (
                        SELECT FROM channel_members m WHERE m.channel_id = c.id AND m.role = 'owner'))
                    OR (member_count = 0) <> (deleted_at IS NOT NULL)";
    assert_eq!(world.count(wrong).await, 0);
    assert_eq!(world.count("SELECT count(*) FROM users").await, 8);
    assert_eq!(world.deadlocks().await, 0);
}
