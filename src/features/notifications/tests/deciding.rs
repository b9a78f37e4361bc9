//! Each reason, from a message that was written to what came of it.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::Stage;
use crate::domain::clock::Clock as _;
use crate::domain::ids::{ChannelId, UserId};
use crate::features::channels::tests::remove;
use crate::features::messages::tests::{channel_of, path};
use crate::features::notifications::decision::Reason;

/// Ann, Ben, whom she names in a channel, that channel, and what she said.
async fn named() -> (Stage, UserId, UserId, ChannelId, Value) {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let channel = channel_of(&stage.world, &[ann, ben]).await;
    let message = stage.say(ann, channel, "@ben").await;
    (stage, ann, ben, channel, message)
}

#[tokio::test]
async fn what_is_read_in_time_is_not_told() {
    let (stage, ann, ben, channel, message) = named().await;
    stage.read(ben, channel, &message).await;
    assert_eq!(stage.run().await, [(ben, Reason::Read)]);

    // One of two is not enough.
    let direct = stage.direct(ann, ben).await;
    let first = stage.say(ann, direct, "one").await;
    stage.say(ann, direct, "two").await;
    stage.read(ben, direct, &first).await;
    assert_eq!(stage.run_later().await, [(ben, Reason::Sent)]);
    assert_eq!(stage.told(ben).await[0]["unreadCount"], 1);
}

#[tokio::test]
async fn what_is_read_before_it_was_delivered_wakes_no_phone() {
    let (stage, ann, ben, channel, first) = named().await;
    stage.run().await;
    let other = channel_of(&stage.world, &[ann, ben]).await;
    stage.say(ann, other, "@ben").await;
    stage.say(ann, channel, "@ben, once more").await;
    stage.run().await;

    stage.read(ben, channel, &first).await;

    let outcomes: Vec<(String, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT push -> 'data' ->> 'channelId', outcome, reason FROM events
         WHERE user_id = $1 AND kind = 'MENTIONED' ORDER BY push -> 'data' ->> 'messageSeq', seq",
    )
    .bind(ben.0)
    .fetch_all(&stage.world.pool)
    .await
    .unwrap();
    let seen = (channel.to_string(), Some("delivered".to_owned()), Some("seen".to_owned()));
    let open = |channel: ChannelId| (channel.to_string(), None, None);
    assert_eq!(outcomes, [seen, open(other), open(channel)]);
}

#[tokio::test]
async fn what_was_deleted_is_not_told() {
    let (stage, ann, ben, channel, message) = named().await;
    stage.teller.note().await.unwrap();
    stage.world.delete(ann, &path(&message)).await;
    assert_eq!(stage.run().await, [(ben, Reason::Deleted)]);

    let message = stage.say(ann, channel, "@ben").await;
    stage.teller.note().await.unwrap();
    stage.world.send_json(ann, "PUT", &path(&message), &json!({"content": "not you"})).await;
    assert_eq!(stage.run().await, [(ben, Reason::Deleted)]);
    assert!(stage.told(ben).await.is_empty());
}

#[tokio::test]
async fn who_was_taken_out_or_has_gone_is_not_told() {
    let (stage, ann, ben, channel, _) = named().await;
    let cid = stage.named("cid").await;
    let direct = stage.direct(ann, cid).await;
    stage.say(ann, direct, "hello").await;
    stage.teller.note().await.unwrap();
    remove(&stage.world, ann, channel, ben).await;
    sqlx::query("DELETE FROM users WHERE id = $1").bind(cid.0).execute(&stage.world.pool).await.unwrap();

    stage.gather();
    let mut decided = stage.run().await;
    decided.sort_by_key(|(user, _)| *user);
    assert_eq!(decided, [(ben, Reason::NotAMember), (cid, Reason::NotAMember)]);
    assert_eq!((stage.told(ben).await.len(), stage.pending().await), (0, 0));
}

#[tokio::test]
async fn who_does_not_want_it_is_not_told() {
    let (stage, ann, ben, channel, _) = named().await;
    let direct = stage.direct(ann, ben).await;
    stage.prefer(ben, json!({"mentions": false, "direct": false, "all": true})).await;
    stage.say(ann, direct, "hello").await;
    stage.say(ann, channel, "hello").await;
    stage.teller.note().await.unwrap();
    stage.prefer(ben, json!({"all": false})).await;

    assert_eq!(stage.run_later().await, [(ben, Reason::Preference), (ben, Reason::Preference)]);
    assert!(stage.told(ben).await.is_empty());
}

#[tokio::test]
async fn who_muted_it_is_told_of_mentions_only() {
    let (stage, ann, ben, channel, _) = named().await;
    let direct = stage.direct(ann, ben).await;
    for muted in [channel, direct] {
        let until = stage.world.clock.now() + chrono::TimeDelta::hours(1);
        stage.prefer_of(ben, muted, json!({"muted": true, "mutedUntil": until, "all": true})).await;
        stage.say(ann, muted, "hello").await;
    }

    let mut decided = stage.run_later().await;
    decided.sort_by_key(|(_, reason)| reason.as_str());
    assert_eq!(decided, [(ben, Reason::Muted), (ben, Reason::Sent)]);
    assert_eq!(stage.told(ben).await[0]["type"], "MENTIONED");

    // When it is over, it is over.
    stage.pass(3_600_000);
    stage.say(ann, direct, "again").await;
    stage.say(ann, channel, "again").await;
    assert_eq!(stage.run_later().await, [(ben, Reason::Sent), (ben, Reason::Sent)]);
}

#[tokio::test]
async fn who_looks_at_it_is_told_when_they_look_away_without_having_read_it() {
    let (stage, _, ben, channel, message) = named().await;
    let hold = stage.world.config.notifications.hold_ms;
    stage.shows(ben, channel);
    assert_eq!(stage.run().await, [(ben, Reason::Viewing)]);
    assert!(stage.run().await.is_empty());
    stage.pass(hold);
    assert!(stage.run().await.is_empty(), "it waits for the same, and is not counted again");
    stage.shows_nothing();
    stage.pass(hold);
    assert_eq!(stage.run().await, [(ben, Reason::Sent)]);
    assert_eq!(stage.told(ben).await[0]["messageId"], message["id"]);
}

#[tokio::test]
async fn who_looks_at_it_all_the_time_has_seen_it() {
    let (stage, ann, ben, channel, message) = named().await;
    let config = stage.world.config.notifications.clone();
    stage.shows(ben, channel);
    assert_eq!(stage.run().await, [(ben, Reason::Viewing)]);
    // Or has read it.
    let mut looks = 0;
    while stage.pending().await > 0 {
        stage.pass(config.hold_ms);
        let decided = stage.run().await;
        looks += 1;
        assert!(decided.is_empty() || decided == [(ben, Reason::Viewed)], "{decided:?}");
    }
    assert_eq!(looks, config.hold_max_ms / config.hold_ms);

    let another = stage.say(ann, channel, "@ben").await;
    assert_eq!(stage.run().await, [(ben, Reason::Viewing)]);
    stage.read(ben, channel, &another).await;
    stage.pass(config.hold_ms);
    assert_eq!(stage.run().await, [(ben, Reason::Read)]);
    assert!(stage.told(ben).await.is_empty() && message["seq"] == 1);
}

#[tokio::test]
async fn what_comes_in_quiet_hours_is_told_as_one_when_they_end() {
    let (stage, ann, ben, channel, _) = named().await;
    let now = stage.world.clock.now();
    let minute = |hours: i64| (now + chrono::TimeDelta::hours(hours)).format("%H:%M").to_string();
    let hours = json!({"from": minute(-1), "until": minute(2), "timeZone": "UTC"});
    stage.prefer(ben, json!({"quietHours": hours})).await;
    assert_eq!(stage.run().await, [(ben, Reason::QuietHours)]);
    stage.say(ann, channel, "@ben, do you sleep?").await;
    assert!(stage.run().await.is_empty(), "it waits for the same");
    assert!(stage.told(ben).await.is_empty());

    stage.pass(2 * 3_600_000);
    assert_eq!(stage.run().await, [(ben, Reason::Sent)]);

    let told = stage.told(ben).await;
    assert_eq!((told.len(), &told[0]["messageSeq"]), (1, &json!(2)));
}

#[tokio::test]
async fn who_ends_their_quiet_hours_is_told_what_waited() {
    let (stage, _, ben, _, _) = named().await;
    let now = stage.world.clock.now();
    let minute = |hours: i64| (now + chrono::TimeDelta::hours(hours)).format("%H:%M").to_string();
    let hours = json!({"from": minute(-1), "until": minute(2), "timeZone": "UTC"});
    stage.prefer(ben, json!({"quietHours": hours})).await;
    assert_eq!(stage.run().await, [(ben, Reason::QuietHours)]);

    stage.prefer(ben, json!({"quietHours": null})).await;

    assert_eq!(stage.run().await, [(ben, Reason::Sent)]);
}

#[tokio::test]
async fn what_could_not_be_told_for_days_is_not_told_any_more() {
    let (stage, _, ben, _, _) = named().await;
    stage.pass(stage.world.config.notifications.kept_hours * 3_600_000);
    assert_eq!(stage.run().await, [(ben, Reason::Expired)]);
}

#[tokio::test]
async fn while_nobody_knows_what_is_on_screens_everybody_is_told() {
    let (stage, _, ben, channel, _) = named().await;
    stage.shows(ben, channel);
    stage.screens.is_away.store(true, Ordering::Relaxed);
    assert_eq!(stage.run().await, [(ben, Reason::Sent)]);
}
