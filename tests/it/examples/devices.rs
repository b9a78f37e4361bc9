//! Devices that can be woken: registered, listed, taken back.

use serde_json::{Value, json};

use crate::shape::assert_shape;
use crate::shared::{fresh, person};

fn device(device_id: &str, platform: &str, app_version: &Value) -> Value {
    json!({
        "id": "<uuid>", "deviceId": device_id, "platform": platform, "appVersion": app_version, "active": true,
        "createdAt": "<iso>", "updatedAt": "<iso>", "lastRegisteredAt": "<iso>", "deactivatedAt": null,
    })
}

#[tokio::test]
async fn a_device_is_new_once_and_its_token_is_never_shown() {
    let ada = person("ada").await;
    let token = fresh("fcm");
    let body = json!({"deviceId": "phone", "fcmToken": token, "platform": "android", "appVersion": "1.2.3"});

    let first = ada.put("/devices/fcm-token", body.clone()).await.expect(201);
    let again = ada.put("/devices/fcm-token", body).await.expect(200);

    let expected = device("phone", "android", &json!("1.2.3"));
    assert_shape(&first, &json!({"created": true, "token": expected}));
    assert_shape(&again, &json!({"created": false, "token": expected}));
    assert_eq!(first["token"]["id"], again["token"]["id"]);
    assert_eq!(first["token"]["createdAt"], again["token"]["createdAt"]);
    let listed = ada.get("/devices/fcm-token").await.expect(200);
    assert_eq!(listed, json!([again["token"]]));
    for answer in [first, again, listed] {
        assert!(!answer.to_string().contains(&token), "{answer}");
    }
}

#[tokio::test]
async fn every_platform_and_every_length_that_is_documented_is_taken() {
    let ada = person("ada").await;
    let long = |text: &str, length: usize| {
        let text = fresh(text);
        format!("{text}{}", "x".repeat(length - text.len()))
    };
    for platform in ["android", "ios", "web"] {
        let device_id = long(platform, 191);
        let body = json!({"deviceId": device_id, "fcmToken": long("fcm", 512), "platform": platform});
        let answer = ada.put("/devices/fcm-token", body).await.expect(201);
        assert_shape(&answer["token"], &device(&device_id, platform, &Value::Null));
    }
    let version = "1".repeat(64);
    let body = json!({"deviceId": "d", "fcmToken": fresh("f"), "platform": "web", "appVersion": version});
    assert_eq!(ada.put("/devices/fcm-token", body).await.expect(201)["token"]["appVersion"], version);
}

#[tokio::test]
async fn a_device_is_taken_back_with_the_same_answer_always() {
    let ada = person("ada").await;
    let register = async |device_id: &str| {
        let body = json!({"deviceId": device_id, "fcmToken": fresh("fcm"), "platform": "ios"});
        ada.put("/devices/fcm-token", body).await
    };
    for device_id in ["one", "two", "a/b c"] {
        register(device_id).await.expect(201);
    }
    for _ in 0..2 {
        assert_eq!(ada.delete("/devices/fcm-token/one").await.expect(204), Value::Null);
    }
    ada.delete("/devices/fcm-token/never-there").await.expect(204);
    ada.delete("/devices/fcm-token/a%2Fb%20c").await.expect(204);

    let ids = |devices: &Value| -> Vec<String> {
        let devices = devices.as_array().unwrap().iter();
        devices.map(|device| device["deviceId"].as_str().unwrap().to_owned()).collect()
    };
    let active = ada.get("/devices/fcm-token").await.expect(200);
    assert_eq!(ids(&active), ["two"]);
    assert_eq!(ada.get("/devices/fcm-token?includeInactive=false").await.expect(200), active);
    let all = ada.get("/devices/fcm-token?includeInactive=true").await.expect(200);
    // The newest registration first.
    assert_eq!(ids(&all), ["a/b c", "two", "one"]);
    let mut retired = device("one", "ios", &Value::Null);
    retired["active"] = false.into();
    retired["deactivatedAt"] = "<iso>".into();
    assert_shape(&all[2], &retired);
    for other in ["1", "yes", "TRUE", ""] {
        let answer = ada.get(&format!("/devices/fcm-token?includeInactive={other}")).await;
        answer.expect_problem(400, "bad_parameter");
    }
    // It was known: not created again, but active again.
    let back = register("one").await.expect(200);
    assert_eq!((&back["created"], &back["token"]["active"]), (&json!(false), &json!(true)));
}

#[tokio::test]
async fn a_token_belongs_to_who_registered_it_last() {
    let (ada, ben) = tokio::join!(person("ada"), person("ben"));
    let token = fresh("shared");
    let body = json!({"deviceId": "phone", "fcmToken": token, "platform": "android"});
    ada.put("/devices/fcm-token", body.clone()).await.expect(201);
    ben.put("/devices/fcm-token", body).await.expect(201);

    assert_eq!(ada.get("/devices/fcm-token").await.expect(200), json!([]));
    let of_ada = ada.get("/devices/fcm-token?includeInactive=true").await.expect(200);
    assert_eq!(of_ada[0]["active"], false);
    assert_eq!(ben.get("/devices/fcm-token").await.expect(200)[0]["active"], true);
    // One's own only.
    ada.delete("/devices/fcm-token/phone").await.expect(204);
    assert_eq!(ben.get("/devices/fcm-token").await.expect(200)[0]["active"], true);
}

#[tokio::test]
async fn a_logout_takes_its_device_back() {
    let phone = person("ada").await;
    let tablet = phone.log_in_again().await;
    for (client, device_id) in [(&phone, "phone"), (&tablet, "tablet")] {
        let body = json!({"deviceId": device_id, "fcmToken": fresh("fcm"), "platform": "android"});
        client.put("/devices/fcm-token", body).await.expect(201);
    }
    phone.post("/auth/logout", Value::Null).await.expect(204);
    let left = tablet.get("/devices/fcm-token").await.expect(200);
    assert_shape(&left, &json!([device("tablet", "android", &Value::Null)]));
}
