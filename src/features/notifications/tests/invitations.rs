//! An invitation is always told; whether it wakes a phone is for the invited person to say.

use serde_json::json;

use super::Stage;
use crate::domain::clock::Clock as _;
use crate::features::channels::tests::{add, made};

#[tokio::test]
async fn only_who_wants_it_is_woken_by_an_invitation() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let (cid, dan) = (stage.named("cid").await, stage.named("dan").await);
    stage.prefer(cid, json!({"invites": false})).await;
    let minute =
        |hours: i64| (stage.world.clock.now() + chrono::TimeDelta::hours(hours)).format("%H:%M").to_string();
    let hours = json!({"from": minute(-1), "until": minute(2), "timeZone": "UTC"});
    stage.prefer(dan, json!({"quietHours": hours})).await;

    made(&stage.world, ann, json!({"kind": "group", "name": "Trip", "userIds": [ben, cid, dan]})).await;
    let channel = made(&stage.world, ann, json!({"name": "general"})).await;
    for user in [ben, cid, dan] {
        assert_eq!(add(&stage.world, ann, channel, user, "member").await.status, 201);
    }

    for (user, is_woken) in [(ben, true), (cid, false), (dan, false)] {
        let told = stage.world.told(user).await;
        assert_eq!(told.len(), 2);
        for event in told {
            assert_eq!((event["type"].as_str(), event["push"].is_object()), (Some("INVITED"), is_woken));
        }
    }
}
