//! What I want to be told of, and what I am told.

use serde_json::{Value, json};

use crate::notifications::{concern, say};
use crate::shape::assert_shape;
use crate::shared::{fresh, person, socket_at};

#[tokio::test]
async fn what_i_want_to_be_told_of() {
    let (ada, ben) = tokio::join!(person("ada"), person("ben"));
    let defaults =
        json!({"mentions": true, "direct": true, "invites": true, "all": false, "quietHours": null});
    assert_eq!(ben.get("/notification-preferences").await.expect(200), defaults);

    let change = json!({
        "mentions": true, "direct": true, "invites": false, "all": false,
        "quietHours": {"from": "22:00", "until": "07:00", "timeZone": "Europe/Copenhagen"},
    });
    assert_eq!(ben.put("/notification-preferences", change.clone()).await.expect(200), change);
    assert_eq!(ben.get("/notification-preferences").await.expect(200), change);
    let day = ben.put("/notification-preferences", json!({"invites": true, "quietHours": null})).await;
    assert_eq!(day.expect(200), defaults);
    let nowhere = json!({"quietHours": {"from": "22:00", "until": "07:00", "timeZone": "Nowhere"}});
    ben.put("/notification-preferences", nowhere).await.expect_problem(422, "invalid_body");

    let body = json!({"name": fresh("general")});
    let channel = ada.post("/channels/", body).await.expect(201)["id"].clone();
    let path = format!("/notification-preferences/channels/{}", channel.as_str().unwrap());
    ben.get(&path).await.expect_problem(403, "forbidden");
    ben.post(&format!("/channels/{}/join", channel.as_str().unwrap()), Value::Null).await.expect(201);
    let muted = json!({
        "channelId": channel, "muted": true, "mutedUntil": "2030-01-01T07:00:00Z", "mentions": null, "all": null,
    });
    let mute = json!({"muted": true, "mutedUntil": "2030-01-01T07:00:00Z"});
    assert_eq!(ben.put(&path, mute).await.expect(200), muted);
    assert_eq!(ben.get(&path).await.expect(200), muted);
    let listed = json!({"items": [muted], "next": null});
    assert_eq!(ben.get("/notification-preferences/channels").await.expect(200), listed);
    ben.delete(&path).await.expect(204);
    assert_eq!(ben.get(&path).await.expect(200)["muted"], false);
    let nothing = json!({"items": [], "next": null});
    assert_eq!(ben.get("/notification-preferences/channels").await.expect(200), nothing);
}

#[tokio::test]
async fn what_i_am_told_while_i_am_elsewhere() {
    let (ada, ben) = tokio::join!(person("ada"), person("ben"));
    let mut socket = socket_at(&ben, 1).await;
    concern(&ada, &ben).await;
    socket.expect_event("CHANNEL_CREATED").await;

    let expected = |kind: &str, seq: i64| {
        json!({
            "type": kind, "channelId": "<uuid>", "messageId": "<uuid>", "messageSeq": 1, "userId": "<uuid>",
            "unreadCount": 1, "timestamp": "<ms>", "id": "<uuid>", "seq": seq,
        })
    };
    let mut activity = Value::Null;
    for (kind, seq) in [("MENTIONED", 2), ("DIRECT_MESSAGE", 3), ("CHANNEL_ACTIVITY", 4)] {
        let told = socket.expect_event(kind).await;
        let mut expected = expected(kind, seq);
        if kind != "DIRECT_MESSAGE" {
            expected["channelName"] = told["channelName"].clone();
        }
        assert_shape(&told, &expected);
        activity = told;
    }

    // What it is about is there to be read, and what was read is not told.
    assert_eq!(activity["userId"], ada.id);
    let message = say(&ada, &activity["channelId"], "and so on").await;
    let path = format!("/channels/{}/read", activity["channelId"].as_str().unwrap());
    ben.post(&path, json!({"messageId": message["id"]})).await.expect(200);
    socket.expect_event("SELF_READ_MARKER").await;
    socket.expect_nothing_more().await;
}
