//! From a message to the people whom it concerns.

use futures_util::future::join_all;
use serde_json::json;

use super::Stage;
use crate::domain::ids::{ChannelId, UserId};
use crate::features::channels::tests::{add, made};
use crate::features::messages::tests::{channel_of, path};
use crate::features::notifications::decision::Reason;

/// So many more members, of whom those want every message who are asked to.
async fn crowd(stage: &Stage, channel: ChannelId, count: i64, listening: bool) {
    for statement in [
        "INSERT INTO users (id, email, password_hash, created_at, updated_at)
         SELECT gen_random_uuid(), 'crowd' || n || '@example.com', '', now(), now()
         FROM generate_series(1, $2::bigint) AS n WHERE $1::uuid IS NOT NULL AND $3::boolean IS NOT NULL",
        "INSERT INTO notification_preferences (user_id, mentions, direct, invites, all_messages)
         SELECT id, true, true, true, true FROM users
         WHERE email LIKE 'crowd%' AND $3 AND $1::uuid IS NOT NULL AND $2::bigint > 0",
        "INSERT INTO channel_members (channel_id, user_id, role, joined_at)
         SELECT $1, id, 'member', now() FROM users
         WHERE email LIKE 'crowd%' AND $2::bigint > 0 AND $3::boolean IS NOT NULL",
    ] {
        sqlx::query(statement)
            .bind(channel.0)
            .bind(count)
            .bind(listening)
            .execute(&stage.world.pool)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_message_that_concerns_nobody_leaves_nothing() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let channel = channel_of(&stage.world, &[ann, ben]).await;

    stage.say(ann, channel, "hello").await;
    stage.say(ann, channel, "I am @ann, and @nobody else").await;
    stage.prefer(ann, json!({"all": true})).await;
    stage.say(ann, channel, "nobody but Ann wants to know of it").await;

    assert_eq!(stage.notices().await, 0);
}

#[tokio::test]
async fn a_mention_among_ten_thousand_costs_one_row_and_tells_one() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let channel = channel_of(&stage.world, &[ann, ben]).await;
    crowd(&stage, channel, 9_998, false).await;

    stage.say(ann, channel, "@ben").await;

    assert_eq!(stage.notices().await, 1);
    assert_eq!(stage.run().await, [(ben, Reason::Sent)]);
    assert_eq!((stage.notices().await, stage.pending().await), (0, 0));
}

#[tokio::test]
async fn those_who_want_every_message_are_noted_some_at_a_time() {
    let stage = Stage::with(|config| config.notifications.listeners_batch_max = 100).await;
    let (ann, ben) = stage.ann_and_ben().await;
    let channel = channel_of(&stage.world, &[ann, ben]).await;
    crowd(&stage, channel, 250, true).await;
    stage.say(ann, channel, "@ben and everybody").await;
    assert_eq!(stage.notices().await, 1);

    for (pending, is_more) in [(101, true), (201, true), (251, false)] {
        assert_eq!(stage.teller.note().await.unwrap(), is_more);
        assert_eq!(stage.pending().await, pending);
    }

    assert_eq!(stage.notices().await, 0);
    stage.gather();
    assert_eq!(stage.run().await.len(), 251);
    let told = stage.world.count("SELECT count(*) FROM events WHERE kind = 'CHANNEL_ACTIVITY'").await;
    assert_eq!((told, stage.told(ben).await[0]["type"].as_str()), (250, Some("MENTIONED")));
}

#[tokio::test]
async fn an_edit_tells_those_whom_it_names_anew() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let cid = stage.named("cid").await;
    let channel = channel_of(&stage.world, &[ann, ben, cid]).await;
    let message = stage.say(ann, channel, "@ben").await;
    stage.run().await;

    let body = json!({"content": "@ben, @ann and @cid"});
    assert_eq!(stage.world.send_json(ann, "PUT", &path(&message), &body).await.status, 200);

    assert_eq!(stage.run().await, [(cid, Reason::Sent)]);
    let body = json!({"content": "@ben and @cid"});
    stage.world.send_json(ann, "PUT", &path(&message), &body).await;
    assert_eq!(stage.notices().await, 0);
    assert_eq!((stage.told(ben).await.len(), stage.told(ann).await.len()), (1, 0));
}

#[tokio::test]
async fn a_message_that_is_sent_again_is_noticed_once() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let direct = stage.direct(ann, ben).await;
    let body = json!({"channelId": direct, "content": "hello", "clientId": "c-1"});

    let sends = (0..5).map(|_| crate::features::messages::tests::send(&stage.world, ann, &body));
    join_all(sends).await;

    assert_eq!(stage.notices().await, 1);
}

#[tokio::test]
async fn a_message_that_is_gone_before_anybody_is_noted_concerns_nobody() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let one = channel_of(&stage.world, &[ann, ben]).await;
    let other = channel_of(&stage.world, &[ann, ben]).await;
    let message = stage.say(ann, one, "@ben").await;
    stage.world.delete(ann, &path(&message)).await;
    stage.say(ann, other, "@ben").await;
    stage.world.delete(ann, &format!("/channels/{other}")).await;

    assert!(stage.run().await.is_empty());
    assert_eq!((stage.notices().await, stage.told(ben).await.len()), (0, 0));
}

async fn listeners(stage: &Stage, channel: ChannelId) -> Vec<UserId> {
    sqlx::query_scalar("SELECT user_id FROM channel_listeners WHERE channel_id = $1 ORDER BY user_id")
        .bind(channel.0)
        .fetch_all(&stage.world.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn who_listens_follows_from_what_they_want_and_where_they_are() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let one = channel_of(&stage.world, &[ann, ben]).await;
    let other = made(&stage.world, ann, json!({"name": "other"})).await;

    stage.prefer(ben, json!({"all": true})).await;
    assert_eq!((listeners(&stage, one).await, listeners(&stage, other).await), (vec![ben], vec![]));
    add(&stage.world, ann, other, ben, "member").await;
    assert_eq!(listeners(&stage, other).await, [ben]);
    stage.prefer_of(ben, one, json!({"all": false})).await;
    assert_eq!((listeners(&stage, one).await, listeners(&stage, other).await), (vec![], vec![ben]));
    stage.prefer_of(ben, other, json!({"all": true})).await;
    stage.prefer(ben, json!({"all": false})).await;
    assert_eq!((listeners(&stage, one).await, listeners(&stage, other).await), (vec![], vec![ben]));
    stage.world.delete(ben, &format!("/channels/{other}/members/{ben}")).await;
    assert!(listeners(&stage, other).await.is_empty());
    // What they wanted ended with the membership.
    add(&stage.world, ann, other, ben, "member").await;
    assert!(listeners(&stage, other).await.is_empty());
}
