//! What others do while it is decided: nobody is held up, and nobody is told by what was true a moment ago.

use serde_json::json;
use sqlx::PgTransaction;

use super::Stage;
use crate::domain::ids::{ChannelId, UserId};
use crate::features::channels::access_locked;
use crate::features::messages::tests::{channel_of, send};
use crate::features::notifications::decision::Reason;

/// Ann has named Ben and then Cid in a channel; one of them is decided at a time.
async fn two_named() -> (Stage, [UserId; 3], ChannelId) {
    let stage = Stage::with(|config| config.notifications.decisions_batch_max = 1).await;
    let (ann, ben) = stage.ann_and_ben().await;
    let cid = stage.named("cid").await;
    let channel = channel_of(&stage.world, &[ann, ben, cid]).await;
    stage.say(ann, channel, "@ben").await;
    stage.teller.note().await.unwrap();
    stage.pass(1);
    stage.say(ann, channel, "@cid").await;
    stage.teller.note().await.unwrap();
    (stage, [ann, ben, cid], channel)
}

async fn holding(stage: &Stage, sql: &'static str, user: UserId) -> PgTransaction<'static> {
    let mut tx = stage.world.pool.begin().await.unwrap();
    sqlx::query(sql).bind(user.0).execute(&mut *tx).await.unwrap();
    tx
}

#[tokio::test]
async fn a_node_that_froze_over_one_decision_holds_no_other_up() {
    let (stage, [_, ben, cid], _) = two_named().await;
    let row = "SELECT FROM pending_notifications WHERE user_id = $1 FOR UPDATE";
    let frozen = holding(&stage, row, ben).await;

    assert_eq!(stage.run().await, [(cid, Reason::Sent)]);

    frozen.rollback().await.unwrap();
    assert_eq!(stage.run().await, [(ben, Reason::Sent)]);
}

#[tokio::test]
async fn who_is_changed_or_reads_at_this_moment_is_decided_afterwards() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let cid = stage.named("cid").await;
    let channel = channel_of(&stage.world, &[ann, ben, cid]).await;
    for change in [
        "SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE",
        "UPDATE channel_members SET last_read_seq = last_read_seq WHERE user_id = $1",
    ] {
        stage.say(ann, channel, "@ben @cid").await;
        let changed = holding(&stage, change, ben).await;

        assert_eq!(stage.run().await, [(cid, Reason::Sent)], "{change}");

        changed.commit().await.unwrap();
        assert_eq!(stage.run().await, [(ben, Reason::Sent)], "{change}");
    }
}

#[tokio::test]
async fn a_message_that_comes_while_the_channel_is_shown_has_its_own_time() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let channel = channel_of(&stage.world, &[ann, ben]).await;
    let (hold_ms, hold_max_ms) =
        (stage.world.config.notifications.hold_ms, stage.world.config.notifications.hold_max_ms);
    stage.shows(ben, channel);
    stage.say(ann, channel, "@ben").await;
    assert_eq!(stage.run().await, [(ben, Reason::Viewing)]);
    stage.pass(hold_max_ms - 1);
    stage.say(ann, channel, "@ben, and this").await;
    assert!(stage.run().await.is_empty());

    // The first one would have been seen long enough, the second was not.
    stage.pass(hold_ms);
    assert!(stage.run().await.is_empty());
    stage.shows_nothing();
    stage.pass(hold_ms);
    assert_eq!(stage.run().await, [(ben, Reason::Sent)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_in_while_a_message_waits_is_named_by_it() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let channel = channel_of(&stage.world, &[ann]).await;
    let mut coming = stage.world.pool.begin().await.unwrap();
    access_locked(&mut coming, ann, channel).await.unwrap();

    let body = json!({"channelId": channel, "content": "@ben"});
    let (answer, ()) = tokio::join!(send(&stage.world, ann, &body), async {
        stage.world.blocked(1).await;
        let enter = "INSERT INTO channel_members (channel_id, user_id, role, joined_at)
                     VALUES ($1, $2, 'member', now())";
        sqlx::query(enter).bind(channel.0).bind(ben.0).execute(&mut *coming).await.unwrap();
        coming.commit().await.unwrap();
    });

    assert_eq!(answer.body["mentions"], json!([ben]));
    assert_eq!(stage.run().await, [(ben, Reason::Sent)]);
}
