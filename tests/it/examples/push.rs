//! What a phone gets that no socket reaches, as the fake FCM logged it.

use http::Method;
use serde_json::{Value, json};

use crate::client::{Client, DEADLINE};
use crate::shape::assert_shape;
use crate::shared::{couple, eventually, fresh, pushes_to, socket_at};

/// Registers a device in a language; its token begins with `fate`, by which the fake FCM decides.
async fn register(client: &Client, platform: &str, language: &str, fate: &str) -> String {
    let token = fresh(&format!("{fate}fcm"));
    let body = json!({"deviceId": token, "fcmToken": token, "platform": platform});
    let request = client.request(Method::PUT, "/devices/fcm-token").header("accept-language", language);
    client.send(request.json(&body)).await.expect(201);
    token
}

/// The one message to this token, with its status.
async fn message_to(token: &str) -> Value {
    let log = pushes_to(token, 1).await;
    assert_eq!((log.len(), log[0].attempt, log[0].outcome.as_str()), (1, 1, "accepted"), "{log:?}");
    log[0].message.clone()
}

/// As long as the event: what is left of it when it is sent.
#[track_caller]
fn take_seconds(message: &mut Value, pointer: &str, life: u64) {
    let ttl = message.pointer_mut(pointer).unwrap();
    let seconds: u64 = ttl.as_str().unwrap().trim_end_matches('s').parse().unwrap();
    assert!((life - 60..=life).contains(&seconds), "{ttl}");
    *ttl = "TTL".into();
}

#[tokio::test]
async fn an_offline_partner_is_pushed_to_on_each_device_in_its_language() {
    let (ada, ben) = couple().await;
    let name = ada.email.split('@').next().unwrap().to_owned();
    let texts = [
        ("en-GB,en;q=0.9", "Busy now"),
        ("es", "Ahora no puede atender"),
        ("da-DK, en;q=0.5", "Optaget nu"),
        ("vi", "Hiện đang bận"),
        ("pt", "Busy now"),
    ];
    let mut expected = Vec::new();
    for (language, body) in texts {
        expected.push((register(&ben, "android", language, "").await, body));
    }

    ada.patch("/status", json!({"status": "BUSY"})).await.expect(200);

    for (token, body) in expected {
        let mut message = message_to(&token).await;
        take_seconds(&mut message, "/android/ttl", 24 * 3600);
        let key = format!("partner_status_changed.{}", ada.id);
        let documented = json!({
            "token": token,
            "notification": {"title": name, "body": body},
            "data": {
                "type": "PARTNER_STATUS_CHANGED", "eventId": "<uuid>", "seq": "2", "actorId": ada.id,
                "status": "BUSY",
            },
            "android": {"priority": "HIGH", "ttl": "TTL", "collapse_key": key, "notification": {"tag": key}},
        });
        assert_shape(&message, &documented);
    }
}

#[tokio::test]
async fn each_platform_gets_its_own_block() {
    let (ada, ben) = couple().await;
    let ios = register(&ben, "ios", "en", "").await;
    let web = register(&ben, "web", "en", "").await;
    ada.patch("/status", json!({"status": "AVAILABLE"})).await.expect(200);

    let apns = message_to(&ios).await["apns"].clone();
    assert_shape(
        &apns,
        &json!({"headers": {
            "apns-priority": "10", "apns-push-type": "alert", "apns-expiration": "<text>",
            "apns-collapse-id": format!("partner_status_changed.{}", ada.id),
        }}),
    );
    let mut webpush = message_to(&web).await["webpush"].clone();
    take_seconds(&mut webpush, "/headers/TTL", 24 * 3600);
    assert_shape(&webpush, &json!({"headers": {"TTL": "TTL", "Urgency": "high", "Topic": "<text>"}}));
}

#[tokio::test]
async fn an_unlinking_is_pushed_too_and_in_every_language() {
    let texts = [
        ("en", "You are no longer linked"),
        ("es", "Vuestras cuentas ya no están enlazadas"),
        ("da", "I er ikke længere forbundet"),
        ("vi", "Hai bạn không còn kết nối"),
    ];
    let (ada, ben) = couple().await;
    let mut tokens = Vec::new();
    for (language, body) in texts {
        tokens.push((register(&ben, "android", language, "").await, body));
    }
    let own = register(&ada, "android", "en", "").await;
    ada.delete("/partner").await.expect(204);
    for (token, body) in tokens {
        let message = message_to(&token).await;
        assert_eq!(message["notification"]["body"], body);
        assert_shape(
            &message["data"],
            &json!({"type": "PARTNER_UNLINKED", "eventId": "<uuid>", "seq": "2", "actorId": ada.id}),
        );
        assert_eq!(message["android"]["collapse_key"], format!("partner_unlinked.{}", ada.id));
    }
    // Who acted has the app in hand.
    let fcm = &crate::shared::cluster().await.fcm;
    assert!(fcm.log().iter().all(|entry| entry.token != own));
}

#[tokio::test]
async fn one_dead_token_is_retired_and_does_not_stop_the_others() {
    let (ada, ben) = couple().await;
    let dead = register(&ben, "android", "en", "unreg-").await;
    let alive = register(&ben, "android", "en", "").await;
    ada.patch("/status", json!({"status": "BUSY"})).await.expect(200);

    message_to(&alive).await;
    let sends = pushes_to(&dead, 1).await;
    assert_eq!((sends.len(), sends[0].outcome.as_str()), (1, "UNREGISTERED"));
    eventually(DEADLINE, "the dead token is retired", async || {
        let devices = ben.get("/devices/fcm-token").await.expect(200);
        let ids: Vec<&str> =
            devices.as_array()?.iter().filter_map(|device| device["deviceId"].as_str()).collect();
        (ids == [alive.as_str()]).then_some(())
    })
    .await;
    let all = ben.get("/devices/fcm-token?includeInactive=true").await.expect(200);
    assert_eq!(all.as_array().unwrap().len(), 2);

    ada.patch("/status", json!({"status": "AVAILABLE"})).await.expect(200);
    pushes_to(&alive, 2).await;
    assert_eq!(pushes_to(&dead, 1).await.len(), 1);
}

#[tokio::test]
async fn who_is_connected_is_not_pushed_to() {
    let (ada, ben) = couple().await;
    let token = register(&ben, "android", "en", "").await;
    let mut socket = socket_at(&ben, 1).await;
    ada.patch("/status", json!({"status": "BUSY"})).await.expect(200);
    socket.expect_event("PARTNER_STATUS_CHANGED").await;
    crate::shared::settled(&ben).await;

    // The next one is pushed, so the one before would have been by now.
    socket.close().await;
    crate::shared::gone(&ben).await;
    ada.patch("/status", json!({"status": "OFFLINE"})).await.expect(200);
    assert_eq!(message_to(&token).await["data"]["status"], "OFFLINE");
}
