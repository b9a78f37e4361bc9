//! What people want, through the routes.

use serde_json::{Value, json};

use super::Stage;
use crate::features::channels::tests::made;
use crate::features::messages::tests::channel_of;

const GENERAL: &str = "/notification-preferences";
const CHANNELS: &str = "/notification-preferences/channels";

#[tokio::test]
async fn what_is_absent_stays_as_it_is() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let mut expected =
        json!({"mentions": true, "direct": true, "invites": true, "all": false, "quietHours": null});
    assert_eq!(stage.world.get(ann, GENERAL).await.body, expected);

    let night = json!({"from": "22:00", "until": "07:00", "timeZone": "Europe/Copenhagen"});
    for (change, field) in [
        (json!({"invites": false}), "invites"),
        (json!({"quiet_hours": night}), "quietHours"),
        (json!({"all": true}), "all"),
        (json!({"quietHours": null}), "quietHours"),
        (json!({}), "all"),
    ] {
        if let Some(value) = change.as_object().unwrap().values().next() {
            expected[field] = value.clone();
        }
        let answer = stage.world.send_json(ann, "PUT", GENERAL, &change).await;
        assert_eq!((answer.status.as_u16(), &answer.body), (200, &expected), "{change}");
        assert_eq!(stage.world.get(ann, GENERAL).await.body, expected);
    }
    assert_eq!(stage.world.get(ben, GENERAL).await.body["invites"], true);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let hours = |from: &str, until: &str, zone: &str| json!({"quietHours": {"from": from, "until": until, "timeZone": zone}});
    for body in [
        json!({"mentions": null}),
        json!({"direct": "yes"}),
        json!({"nights": true}),
        hours("22", "07:00", "UTC"),
        hours("22:00", "24:00", "UTC"),
        hours("22:00", "7:00", "UTC"),
        hours("22:00", "07:00:00", "UTC"),
        hours("22:00", "07:00", "Mars/Olympus"),
        hours("22:00", "07:00", "UTC+2"),
        json!({"quietHours": {"from": "22:00", "until": "07:00"}}),
        json!({"quietHours": []}),
    ] {
        let answer = stage.world.send_json(ann, "PUT", GENERAL, &body).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (422, "invalid_body"), "{body}");
    }
    let path = format!("{CHANNELS}/{}", channel_of(&stage.world, &[ann, ben]).await);
    for body in [json!({"muted": null}), json!({"muted": true, "mutedUntil": "soon"}), json!({"all": 1})] {
        let answer = stage.world.send_json(ann, "PUT", &path, &body).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (422, "invalid_body"), "{body}");
    }
    assert_eq!(stage.world.count("SELECT count(*) FROM notification_preferences").await, 0);
}

#[tokio::test]
async fn of_one_conversation_something_else_can_be_wanted() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let channel = channel_of(&stage.world, &[ann, ben]).await;
    let path = format!("{CHANNELS}/{channel}");
    let nothing =
        json!({"channelId": channel, "muted": false, "mutedUntil": null, "mentions": null, "all": null});
    assert_eq!(stage.world.get(ben, &path).await.body, nothing);

    for (body, changed) in [
        (json!({"muted": true}), json!({"muted": true})),
        (json!({"muted": true, "mutedUntil": "2000-01-01T00:00:00Z"}), json!({})),
        (json!({"mutedUntil": "2999-01-01T00:00:00Z"}), json!({})),
        (json!({"mentions": false, "all": true}), json!({"mentions": false, "all": true})),
        (
            json!({"muted": true, "muted_until": "2999-01-01T01:00:00+01:00"}),
            json!({"muted": true, "mutedUntil": "2999-01-01T00:00:00Z"}),
        ),
    ] {
        let mut expected = nothing.clone();
        expected.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        let answer = stage.world.send_json(ben, "PUT", &path, &body).await;
        assert_eq!((answer.status.as_u16(), &answer.body), (200, &expected), "{body}");
        assert_eq!(stage.world.get(ben, &path).await.body, expected);
    }

    assert_eq!(stage.world.delete(ben, &path).await.status, 204);
    assert_eq!(stage.world.delete(ben, &path).await.status, 204);
    assert_eq!(stage.world.get(ben, &path).await.body, nothing);
    assert_eq!(stage.world.count("SELECT count(*) FROM channel_preferences").await, 0);
}

#[tokio::test]
async fn they_are_listed_page_by_page_for_members_only() {
    let stage = Stage::new().await;
    let (ann, ben) = stage.ann_and_ben().await;
    let mut channels = Vec::new();
    for _ in 0..5 {
        let channel = channel_of(&stage.world, &[ann, ben]).await;
        stage.prefer_of(ben, channel, json!({"muted": true})).await;
        channels.push(json!(channel));
    }
    let mut listed: Vec<Value> = Vec::new();
    let mut next = String::new();
    loop {
        let page = stage.world.get(ben, &format!("{CHANNELS}?limit=2{next}")).await.body;
        listed.extend(page["items"].as_array().unwrap().iter().map(|item| item["channelId"].clone()));
        let Some(after) = page["next"].as_str() else { break };
        next = format!("&after={after}");
    }
    assert_eq!(listed, channels);
    assert_eq!(stage.world.get(ben, &format!("{CHANNELS}?limit=0")).await.error(), "bad_parameter");

    let stranger = stage.named("eve").await;
    let public = made(&stage.world, ann, json!({"name": "general"})).await;
    let group = made(&stage.world, ann, json!({"kind": "group", "name": "Trip"})).await;
    for (channel, status) in [(public, 403), (group, 404)] {
        let path = format!("{CHANNELS}/{channel}");
        assert_eq!(stage.world.get(stranger, &path).await.status.as_u16(), status);
        assert_eq!(stage.world.delete(stranger, &path).await.status.as_u16(), status);
        let answer = stage.world.send_json(stranger, "PUT", &path, &json!({"muted": true})).await;
        assert_eq!(answer.status.as_u16(), status);
    }
}

#[tokio::test]
async fn who_changes_them_all_the_time_is_slowed_down() {
    let stage = Stage::with(|config| config.notifications.changes_per_minute_max = 2).await;
    let (ann, ben) = stage.ann_and_ben().await;
    let channel = channel_of(&stage.world, &[ann, ben]).await;
    stage.prefer(ben, json!({"all": true})).await;
    stage.prefer_of(ben, channel, json!({"muted": true})).await;

    let answer = stage.world.send_json(ben, "PUT", GENERAL, &json!({"all": false})).await;

    assert_eq!((answer.error(), &answer.headers["retry-after"]), ("rate_limited", &"60".parse().unwrap()));
}

#[tokio::test]
async fn who_has_no_account_any_more_has_no_preferences() {
    let stage = Stage::new().await;
    let ann = stage.named("ann").await;
    sqlx::query("DELETE FROM users WHERE id = $1").bind(ann.0).execute(&stage.world.pool).await.unwrap();
    let answer = stage.world.send_json(ann, "PUT", GENERAL, &json!({"all": true})).await;
    assert_eq!(answer.error(), "unauthenticated");
}
