//! The traffic light: set, seen, told, and lapsed.

use chrono::Utc;
use serde_json::{Value, json};

use crate::client::Client;
use crate::shape::assert_shape;
use crate::shared::{couple, person, socket_at};

fn partner_event(of: &Client, status: &str, expiration: &Value) -> Value {
    json!({
        "type": "PARTNER_STATUS_CHANGED", "partnerId": of.id, "status": status,
        "statusExpiration": expiration, "timestamp": "<ms>", "id": "<uuid>", "seq": "<int>",
    })
}

fn self_event(of: &Client, status: &str, expiration: &Value) -> Value {
    json!({
        "type": "SELF_STATUS_CHANGED", "userId": of.id, "status": status,
        "statusExpiration": expiration, "timestamp": "<ms>", "id": "<uuid>", "seq": "<int>",
    })
}

#[tokio::test]
async fn everybody_starts_offline_and_alone() {
    let ada = person("ada").await;
    let me = json!({
        "id": ada.id, "status": "OFFLINE", "statusExpiration": null, "statusDuration": null, "partnerId": null,
        "displayName": ada.email.split('@').next(),
    });
    assert_eq!(ada.get("/me").await.expect(200), me);
    ada.get("/partner").await.expect_problem(404, "no_partner");
    ada.delete("/partner").await.expect_problem(404, "no_partner");
}

#[tokio::test]
async fn a_status_is_seen_by_oneself_and_the_partner() {
    let (ada, ben) = couple().await;
    for status in ["AVAILABLE", "BUSY", "OFFLINE"] {
        let answer = ada.patch("/status", json!({"status": status})).await.expect(200);
        assert_eq!(answer, json!({"status": status, "userId": ada.id, "expiration": null, "duration": null}));
        let expected = json!({
            "id": ada.id, "status": status, "statusExpiration": null, "statusDuration": null,
            "partnerId": ben.id, "displayName": ada.email.split('@').next(),
        });
        assert_eq!(ada.get("/me").await.expect(200), expected);
        assert_eq!(ben.get("/partner").await.expect(200), expected);
    }
}

#[tokio::test]
async fn a_change_reaches_all_devices_of_both_on_every_node() {
    let (ada, ben) = couple().await;
    let mut of_ada = [socket_at(&ada, 0).await, socket_at(&ada, 1).await];
    let mut of_ben = [socket_at(&ben, 1).await, socket_at(&ben, 2).await];

    for status in ["AVAILABLE", "BUSY", "OFFLINE"] {
        ada.patch("/status", json!({"status": status})).await.expect(200);
        let mut same: Option<Value> = None;
        for socket in &mut of_ben {
            let event = socket.next_event().await;
            assert_shape(&event, &partner_event(&ada, status, &Value::Null));
            assert_eq!(same.get_or_insert_with(|| event.clone()), &event);
        }
        for socket in &mut of_ada {
            assert_shape(&socket.next_event().await, &self_event(&ada, status, &Value::Null));
        }
    }
    ben.patch("/status", json!({"status": "AVAILABLE"})).await.expect(200);
    for socket in &mut of_ada {
        assert_shape(&socket.next_event().await, &partner_event(&ben, "AVAILABLE", &Value::Null));
    }
    for socket in &mut of_ben {
        assert_shape(&socket.next_event().await, &self_event(&ben, "AVAILABLE", &Value::Null));
    }
    for socket in of_ada.iter_mut().chain(&mut of_ben) {
        socket.expect_nothing_more().await;
    }
}

#[tokio::test]
async fn nobody_else_is_told() {
    let (ada, ben) = couple().await;
    let stranger = person("eve").await;
    let mut outside = socket_at(&stranger, 0).await;
    let mut former = socket_at(&ben, 0).await;
    ada.patch("/status", json!({"status": "BUSY"})).await.expect(200);
    former.expect_event("PARTNER_STATUS_CHANGED").await;
    ben.delete("/partner").await.expect(204);
    former.expect_event("PARTNER_UNLINKED").await;
    ada.patch("/status", json!({"status": "AVAILABLE"})).await.expect(200);
    outside.expect_nothing_more().await;
    former.expect_nothing_more().await;
}

#[tokio::test]
async fn a_timed_status_lapses_and_both_are_told_twice() {
    let (ada, ben) = couple().await;
    let mut sockets = [socket_at(&ada, 0).await, socket_at(&ben, 1).await];
    ada.patch("/status", json!({"status": "AVAILABLE"})).await.expect(200);
    for socket in &mut sockets {
        socket.next_event().await;
    }

    let before = Utc::now().timestamp_millis();
    let answer = ada.patch("/status", json!({"status": "BUSY", "durationSeconds": 1})).await.expect(200);
    assert_shape(&answer, &json!({"status": "BUSY", "userId": ada.id, "expiration": "<ms>", "duration": 1}));
    let expiration = answer["expiration"].as_i64().unwrap();
    assert!((before + 900..=before + 11_000).contains(&expiration), "{expiration}");

    for (status, expiration) in [("BUSY", &answer["expiration"]), ("AVAILABLE", &Value::Null)] {
        assert_shape(&sockets[0].next_event().await, &self_event(&ada, status, expiration));
        let event = sockets[1].next_event().await;
        assert_shape(&event, &partner_event(&ada, status, expiration));
        let is_lapse = expiration.is_null();
        assert!(!is_lapse || event["timestamp"].as_i64() >= answer["expiration"].as_i64(), "{event}");
    }
    let me = ada.get("/me").await.expect(200);
    assert_eq!(
        (&me["status"], &me["statusExpiration"], &me["statusDuration"]),
        (&json!("AVAILABLE"), &Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn a_timed_status_is_shown_with_its_end_until_a_plain_one_clears_it() {
    let (ada, ben) = couple().await;
    let answer =
        ada.patch("/status", json!({"status": "BUSY", "durationSeconds": 604_800})).await.expect(200);
    assert_eq!(answer["duration"], 604_800);
    for seen in [ada.get("/me").await, ben.get("/partner").await] {
        let seen = seen.expect(200);
        assert_eq!(seen["statusExpiration"], answer["expiration"]);
        assert_eq!(seen["statusDuration"], 604_800);
    }
    ada.patch("/status", json!({"status": "BUSY"})).await.expect(200);
    let seen = ben.get("/partner").await.expect(200);
    assert_eq!((&seen["statusExpiration"], &seen["statusDuration"]), (&Value::Null, &Value::Null));
}
