//! Everything at once: nobody waits for each other for ever, and nothing is left behind.

use futures_util::future::join_all;
use serde_json::json;

use super::{Stage, teller};
use crate::domain::ids::{ChannelId, UserId};
use crate::features::channels::tests::{add, remove};
use crate::features::messages::tests::{channel_of, send};
use crate::features::notifications::decision::Reason;

const ROUNDS: usize = 12;

/// Says something to everybody, as often as there are rounds.
async fn talk(stage: &Stage, user: UserId, channels: &[ChannelId]) {
    for round in 0..ROUNDS {
        let body = json!({"channelId": channels[round % channels.len()], "content": "@ann @ben @cid @dan"});
        let answer = send(&stage.world, user, &body).await;
        assert!([201, 403].contains(&answer.status.as_u16()), "{answer:?}");
    }
}

async fn read(stage: &Stage, user: UserId, channels: &[ChannelId]) {
    for round in 0..ROUNDS {
        let channel = channels[round % channels.len()];
        let page = stage.world.get(user, &format!("/messages/channels/{channel}?limit=1")).await;
        let Some(newest) = page.body["items"][0]["id"].as_str() else { continue };
        let path = format!("/channels/{channel}/read");
        let answer = stage.world.send_json(user, "POST", &path, &json!({"messageId": newest})).await;
        assert!([200, 403].contains(&answer.status.as_u16()), "{answer:?}");
    }
}

async fn change_minds(stage: &Stage, user: UserId, channels: &[ChannelId]) {
    for round in 0..ROUNDS {
        stage.prefer(user, json!({"all": round % 2 == 0})).await;
        let path = format!("/notification-preferences/channels/{}", channels[round % channels.len()]);
        let body = json!({"muted": round % 3 == 0, "all": round % 4 == 0});
        let answer = stage.world.send_json(user, "PUT", &path, &body).await;
        assert!([200, 403].contains(&answer.status.as_u16()), "{answer:?}");
    }
}

async fn come_and_go(stage: &Stage, owner: UserId, user: UserId, channels: &[ChannelId]) {
    for round in 0..ROUNDS {
        let channel = channels[round % channels.len()];
        assert!([204, 404].contains(&remove(&stage.world, owner, channel, user).await.status.as_u16()));
        assert!(
            [201, 409].contains(&add(&stage.world, owner, channel, user, "member").await.status.as_u16())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_each_other_whatever_happens_at_once() {
    let stage = Stage::with(|config| {
        config.notifications.gather_all_ms = 0;
        config.notifications.gather_direct_ms = 0;
        config.notifications.changes_per_minute_max = 1_000;
        config.notifications.listeners_batch_max = 2;
        config.notifications.decisions_batch_max = 3;
    })
    .await;
    let (ann, ben) = stage.ann_and_ben().await;
    let (cid, dan) = (stage.named("cid").await, stage.named("dan").await);
    let mut channels = Vec::new();
    for _ in 0..3 {
        channels.push(channel_of(&stage.world, &[ann, ben, cid, dan]).await);
    }
    let doomed = channel_of(&stage.world, &[ann, ben, cid, dan]).await;
    stage.say(ann, doomed, "@ben @cid @dan").await;
    let nodes: Vec<_> = (0..2).map(|_| teller(&stage.world, &stage.screens)).collect();
    let work = async |node: &crate::features::notifications::Teller| {
        for _ in 0..4 * ROUNDS {
            node.note().await.unwrap();
            node.tell().await.unwrap();
        }
    };

    tokio::join!(
        join_all([ann, ben].map(|user| talk(&stage, user, &channels))),
        join_all([ben, cid].map(|user| read(&stage, user, &channels))),
        join_all([ben, cid].map(|user| change_minds(&stage, user, &channels))),
        come_and_go(&stage, ann, cid, &channels),
        join_all(nodes.iter().map(work)),
        async { stage.world.delete(ann, &format!("/channels/{doomed}")).await },
        async {
            let gone = sqlx::query("DELETE FROM users WHERE id = $1").bind(dan.0);
            gone.execute(&stage.world.pool).await.unwrap();
        },
    );
    stage.run().await;

    assert_eq!((stage.notices().await, stage.pending().await), (0, 0));
    for user in [ann, ben, cid] {
        // Checks that there is no gap, too.
        let told = stage.told(user).await;
        assert!(told.iter().all(|event| event["userId"] != json!(user)), "told of oneself");
    }
    assert_eq!(stage.world.deadlocks().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_others_are_decided_is_not_lost() {
    let stage = Stage::with(|config| config.notifications.gather_direct_ms = 0).await;
    let (ann, ben) = stage.ann_and_ben().await;
    let direct = stage.direct(ann, ben).await;
    let node = teller(&stage.world, &stage.screens);
    for _ in 0..30 {
        let (message, _) = tokio::join!(stage.say(ann, direct, "hello"), async {
            node.note().await.unwrap();
            node.tell().await.unwrap()
        });
        let decided = stage.run().await;
        assert!(decided.iter().all(|(_, reason)| *reason == Reason::Sent), "{decided:?}");
        let last = stage.told(ben).await.pop().unwrap();
        assert_eq!(last["messageId"], message["id"]);
    }
}
