//! What people are told, once each, whichever node tells.

use futures_util::future::join_all;
use serde_json::json;

use super::{Stage, teller};
use crate::domain::clock::Clock as _;
use crate::features::messages::tests::channel_of;
use crate::features::notifications::backlog::measure;
use crate::features::notifications::decision::Reason;

#[tokio::test]
async fn who_is_named_is_told_at_once_and_nobody_else() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let cid = stage.named("cid").await;
    let channel = channel_of(&stage.world, &[ann, ben, cid]).await;
    stage.say(ann, channel, "first").await;

    let message = stage.say(ann, channel, "Hello @ben, says @ann").await;
    assert_eq!(stage.run().await, [(ben, Reason::Sent)]);

    let now = stage.world.clock.now().timestamp_millis();
    let name = stage.told(ben).await[0]["channelName"].clone();
    let expected = json!({
        "type": "MENTIONED", "channelId": channel, "channelName": name, "messageId": message["id"], "messageSeq": 2,
        "userId": ann, "unreadCount": 2, "timestamp": now,
        "push": {
            "text": "mentioned",
            "args": {"actor": "The ann", "name": name},
            "data": {"channelId": channel, "messageId": message["id"], "messageSeq": "2", "actorId": ann},
            "collapse_key": format!("mention.{channel}"),
        },
    });
    assert_eq!(stage.told(ben).await, [expected]);
    assert!(name.as_str().unwrap().starts_with("room "));
    assert!(stage.told(ann).await.is_empty() && stage.told(cid).await.is_empty());
    assert!(stage.run_later().await.is_empty());
}

#[tokio::test]
async fn what_is_written_to_somebody_is_gathered_and_told_as_one() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let direct = stage.direct(ann, ben).await;
    for content in ["are you there?", "@ben", "hello?"] {
        stage.say(ann, direct, content).await;
        assert!(stage.run().await.is_empty());
    }

    stage.pass(stage.world.config.notifications.gather_direct_ms);
    assert_eq!(stage.run().await, [(ben, Reason::Sent)]);

    let told = stage.told(ben).await;
    assert_eq!(
        (&told[0]["type"], &told[0]["unreadCount"], &told[0]["messageSeq"], &told[0]["userId"]),
        (&json!("DIRECT_MESSAGE"), &json!(3), &json!(3), &json!(ann))
    );
    assert_eq!(told[0]["push"]["text"], "direct_message.many");
    assert_eq!(told[0]["push"]["args"], json!({"actor": "The ann", "count": "3"}));
    assert_eq!((told.len(), stage.told(ann).await.len()), (1, 0));

    // What is written later is told anew, with all that is unread.
    stage.say(ben, direct, "yes").await;
    stage.say(ann, direct, "good").await;
    assert_eq!(stage.run_later().await.len(), 2);
    assert_eq!(stage.told(ben).await[1]["unreadCount"], 4);
    let one = &stage.told(ann).await[0];
    assert_eq!((&one["unreadCount"], &one["push"]["text"]), (&json!(1), &json!("direct_message.one")));
}

#[tokio::test]
async fn who_wants_every_message_of_a_channel_is_told_of_many_at_once() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let channel = channel_of(&stage.world, &[ann, ben]).await;
    stage.prefer(ann, json!({"all": true})).await;
    stage.prefer_of(ben, channel, json!({"all": true})).await;

    for number in 0..20 {
        stage.say(ann, channel, &number.to_string()).await;
    }
    assert_eq!(stage.run_later().await, [(ben, Reason::Sent)]);

    let told = stage.told(ben).await;
    assert_eq!((&told[0]["type"], &told[0]["unreadCount"]), (&json!("CHANNEL_ACTIVITY"), &json!(20)));
    assert_eq!(told[0]["push"]["text"], "channel_activity.many");
    assert_eq!((told.len(), stage.told(ann).await.len()), (1, 0));
}

#[tokio::test]
async fn a_mention_takes_along_what_was_gathered_and_is_not_driven_out_by_it() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let channel = channel_of(&stage.world, &[ann, ben]).await;
    stage.prefer(ben, json!({"all": true})).await;
    let mention = stage.say(ann, channel, "@ben").await;
    // As many as are looked up, after it.
    for number in 0..120 {
        stage.say(ann, channel, &number.to_string()).await;
    }

    assert_eq!(stage.run().await, [(ben, Reason::Sent)]);

    let told = stage.told(ben).await;
    assert_eq!((&told[0]["type"], &told[0]["messageId"]), (&json!("MENTIONED"), &mention["id"]));
    assert_eq!((told.len(), told[0]["unreadCount"].as_i64()), (1, Some(121)));
}

#[tokio::test]
async fn what_a_node_leaves_behind_another_one_takes_up() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let (channel, direct) = (channel_of(&stage.world, &[ann, ben]).await, stage.direct(ann, ben).await);
    stage.say(ann, channel, "@ben").await;
    stage.say(ann, direct, "hello").await;
    // This one dies after it has noted whom that concerns; in the middle of the other's work it dies, too.
    teller(&stage.world, &stage.screens).note().await.unwrap();
    let mut dying = stage.world.pool.begin().await.unwrap();
    sqlx::query("DELETE FROM pending_notifications").execute(&mut *dying).await.unwrap();
    assert!(stage.run().await.is_empty(), "somebody else is at it");
    dying.rollback().await.unwrap();

    stage.gather();
    assert_eq!(stage.run().await.len(), 2);

    let told = stage.told(ben).await;
    let mut kinds: Vec<_> = told.iter().map(|event| event["type"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["DIRECT_MESSAGE", "MENTIONED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_nodes_tell_everybody_once() {
    let stage = Stage::with(|config| config.notifications.decisions_batch_max = 7).await;
    let ann = stage.named("ann").await;
    let others = join_all((0..40).map(|number| {
        let name = format!("user{number}");
        let stage = &stage;
        async move { stage.named(&name).await }
    }))
    .await;
    for other in &others {
        let direct = stage.direct(ann, *other).await;
        stage.say(ann, direct, "hello").await;
        stage.say(ann, direct, "again").await;
    }

    let nodes: Vec<_> = (0..4).map(|_| teller(&stage.world, &stage.screens)).collect();
    join_all(nodes.iter().map(async |node| while node.note().await.unwrap() {})).await;
    stage.gather();
    join_all(nodes.iter().map(async |node| while node.tell().await.unwrap().is_full {})).await;
    stage.run().await;

    for other in others {
        assert_eq!(stage.told(other).await.len(), 1);
    }
    assert_eq!((stage.notices().await, stage.pending().await), (0, 0));
    assert_eq!(stage.world.deadlocks().await, 0);
}

#[tokio::test]
async fn what_waits_can_be_seen() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let (channel, direct) = (channel_of(&stage.world, &[ann, ben]).await, stage.direct(ann, ben).await);
    let seen = async || measure(&stage.world.pool, stage.world.clock.now()).await.unwrap();
    assert_eq!((seen().await.notices, seen().await.pending), (0, 0));

    stage.say(ann, channel, "@ben").await;
    stage.pass(3_000);
    let before = seen().await;
    assert_eq!((before.notices, before.age_seconds, before.pending), (1, 3.0, 0));
    stage.teller.note().await.unwrap();
    stage.say(ann, direct, "hello").await;
    stage.pass(2_000);
    let after = seen().await;
    assert_eq!((after.notices, after.pending, after.overdue_seconds), (1, 1, 2.0));
}
