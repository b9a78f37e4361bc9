//! Push registrations through their routes: whose token is whose, and what retires one.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::future::join_all;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::delivery::device_tokens::DeviceTokens as _;
use crate::domain::clock::Clock as _;
use crate::domain::ids::{SessionId, UserId};
use crate::features::devices::{PushDevices, Registration, retire_for_session, run_stale_job};
use crate::features::fixture::{Answer, World};
use crate::ports::push::Platform;
use crate::shutdown::Shutdown;

const DAY: Duration = Duration::from_hours(24);

fn registration(user: UserId, device: &str, token: &str) -> Registration {
    Registration {
        user,
        session: SessionId::generate(),
        device_id: device.to_owned(),
        fcm_token: token.to_owned(),
        platform: Platform::Android,
        app_version: None,
        locale: "en".to_owned(),
    }
}

async fn put(world: &World, user: UserId, body: &Value) -> Answer {
    world.send_json(user, "PUT", "/devices/fcm-token", body).await
}

async fn put_token(world: &World, user: UserId, device: &str, token: &str) -> Answer {
    put(world, user, &json!({"deviceId": device, "fcmToken": token, "platform": "ios"})).await
}

/// Device id and reason of what is not active any more.
async fn retired(world: &World, user: UserId) -> Vec<(String, String)> {
    sqlx::query_as(
        "SELECT device_id, deactivated_reason FROM device_tokens
         WHERE user_id = $1 AND deactivated_at IS NOT NULL ORDER BY device_id",
    )
    .bind(user.0)
    .fetch_all(&world.pool)
    .await
    .unwrap()
}

fn push_devices(world: &World) -> PushDevices {
    PushDevices::new(world.pool.clone(), world.clock.clone(), &world.config.devices)
}

async fn pushable(world: &World, user: UserId) -> Vec<String> {
    let tokens = push_devices(world).active(user).await.unwrap();
    tokens.into_iter().map(|token| token.fcm_token).collect()
}

#[tokio::test]
async fn a_device_is_created_once_and_refreshed_after_that() {
    let world = World::new().await;
    let user = world.user(None).await;
    let body =
        json!({"deviceId": "phone", "fcmToken": "secret-1", "platform": "android", "appVersion": "1.2"});

    let first = put(&world, user, &body).await;
    let registered_at = first.body["token"]["lastRegisteredAt"].clone();
    world.clock.advance(DAY);
    let body = json!({"deviceId": "phone", "fcmToken": "secret-2", "platform": "android"});
    let again = put(&world, user, &body).await;

    assert_eq!(first.status, StatusCode::CREATED);
    let mut expected = json!({"created": true, "token": {
        "id": first.body["token"]["id"], "deviceId": "phone", "platform": "android", "appVersion": "1.2",
        "active": true, "createdAt": registered_at, "updatedAt": registered_at,
        "lastRegisteredAt": registered_at, "deactivatedAt": null
    }});
    assert_eq!(first.body, expected);
    let parsed: chrono::DateTime<chrono::Utc> = registered_at.as_str().unwrap().parse().unwrap();
    assert_eq!(parsed + DAY, world.clock.now());

    assert_eq!(again.status, StatusCode::OK);
    expected["created"] = json!(false);
    expected["token"]["appVersion"] = Value::Null;
    let now = again.body["token"]["updatedAt"].clone();
    assert_ne!(now, registered_at);
    expected["token"]["updatedAt"] = now.clone();
    expected["token"]["lastRegisteredAt"] = now;
    assert_eq!(again.body, expected);
    assert_eq!(pushable(&world, user).await, ["secret-2"]);
}

#[tokio::test]
async fn the_token_is_never_shown_and_the_language_is_kept() {
    let world = World::new().await;
    let user = world.user(None).await;
    let request = world
        .request(user, "PUT", "/devices/fcm-token")
        .header("accept-language", "en;q=0.5, da-DK")
        .body(Body::from(json!({"deviceId": "web", "fcmToken": "secret", "platform": "web"}).to_string()));

    let answer = world.send(request.unwrap()).await;
    let list = world.get(user, "/devices/fcm-token").await;

    assert!(!answer.body.to_string().contains("secret"));
    assert!(!list.body.to_string().contains("secret"));
    let tokens = push_devices(&world).active(user).await.unwrap();
    assert_eq!((tokens[0].locale.as_str(), tokens[0].platform), ("da-DK", Platform::Web));
}

#[tokio::test]
async fn every_wrong_registration_is_refused() {
    let world = World::new().await;
    let user = world.user(None).await;
    let valid = json!({"deviceId": "d", "fcmToken": "t", "platform": "ios", "appVersion": "1"});
    let wrong = [
        ("deviceId", json!("")),
        ("deviceId", json!("x".repeat(192))),
        ("deviceId", json!("a\0b")),
        ("deviceId", json!(7)),
        ("fcmToken", json!("")),
        ("fcmToken", json!("x".repeat(513))),
        ("fcmToken", json!("a\nb")),
        ("platform", json!("windows")),
        ("platform", json!("IOS")),
        ("platform", json!(null)),
        ("appVersion", json!("x".repeat(65))),
        ("appVersion", json!("\0")),
        ("userId", json!(user)),
    ];
    for (field, value) in wrong {
        let mut body = valid.clone();
        body[field] = value;
        let answer = put(&world, user, &body).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (422, "invalid_body"), "{body}");
    }
    for missing in ["deviceId", "fcmToken", "platform"] {
        let mut body = valid.clone();
        body.as_object_mut().unwrap().remove(missing);
        assert_eq!(put(&world, user, &body).await.error(), "invalid_body", "{missing}");
    }

    let longest = json!({
        "deviceId": "ø".repeat(191), "fcmToken": "t".repeat(512), "platform": "ios", "appVersion": "v".repeat(64)
    });
    assert_eq!(put(&world, user, &longest).await.status, StatusCode::CREATED);
    assert_eq!(world.send_text(user, "PUT", "/devices/fcm-token", "{").await.error(), "malformed_body");
    assert_eq!(put(&world, UserId::generate(), &valid).await.error(), "unauthenticated");
    let anonymous = Request::get("/devices/fcm-token").body(Body::empty()).unwrap();
    assert_eq!(world.send(anonymous).await.error(), "unauthenticated");
}

#[tokio::test]
async fn the_list_shows_ones_own_devices_newest_first() {
    let world = World::new().await;
    let (user, other) = (world.user(None).await, world.user(None).await);
    for device in ["one", "two", "three"] {
        put_token(&world, user, device, device).await;
        world.clock.advance(DAY);
    }
    put_token(&world, other, "foreign", "foreign").await;
    put_token(&world, user, "one", "one").await;
    let list = async |query: &str| {
        let answer = world.get(user, &format!("/devices/fcm-token{query}")).await;
        assert_eq!(answer.status, StatusCode::OK);
        let devices = answer.body.as_array().unwrap().clone();
        let names = devices.iter().map(|device| device["deviceId"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };

    // Always 204: there, gone, foreign, unknown, and what no database could hold.
    for device in ["two", "two", "foreign", "unknown", "%00", &"x".repeat(300)] {
        let answer = world.delete(user, &format!("/devices/fcm-token/{device}")).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{device}");
    }

    assert_eq!(list("").await, ["one", "three"]);
    assert_eq!(list("?includeInactive=false").await, ["one", "three"]);
    assert_eq!(list("?includeInactive=true").await, ["one", "three", "two"]);
    let all = world.get(user, "/devices/fcm-token?includeInactive=true").await.body;
    assert_eq!((&all[2]["active"], all[2]["deactivatedAt"].is_string()), (&json!(false), true));
    for wrong in ["1", "TRUE", "yes", "", "true&includeInactive=false"] {
        let answer = world.get(user, &format!("/devices/fcm-token?includeInactive={wrong}")).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (400, "bad_parameter"), "{wrong}");
    }
    assert_eq!(pushable(&world, other).await, ["foreign"]);
    let back = put_token(&world, user, "two", "two").await;
    assert_eq!((back.status, &back.body["token"]["active"]), (StatusCode::OK, &json!(true)));
}

#[tokio::test]
async fn a_token_moves_to_whoever_registered_it_last() {
    let world = World::new().await;
    let (ann, bob) = (world.user(None).await, world.user(None).await);
    put_token(&world, ann, "shared", "token").await;

    put_token(&world, bob, "shared", "token").await;
    assert_eq!(pushable(&world, ann).await, Vec::<String>::new());
    assert_eq!(pushable(&world, bob).await, ["token"]);
    assert_eq!(retired(&world, ann).await, [("shared".to_owned(), "moved".to_owned())]);

    put_token(&world, bob, "renamed", "token").await;
    assert_eq!(retired(&world, bob).await, [("shared".to_owned(), "moved".to_owned())]);
    assert_eq!(pushable(&world, bob).await, ["token"]);
}

/// Six people pass three tokens around as fast as they can: each gets an answer, each token has one owner.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_many_register_at_once_ends_with_one() {
    let world = World::new().await;
    let users = join_all((0..6).map(|_| world.user(None))).await;

    let lives = users.iter().enumerate().map(|(number, user)| {
        let world = &world;
        async move {
            for turn in 0..40 {
                let device = ["one", "two"][turn % 2];
                let token = ["red", "green", "blue"][(turn + number) % 3];
                world.devices.register(&registration(*user, device, token)).await.unwrap();
            }
        }
    });
    join_all(lives).await;

    let last = users.iter().map(|user| registration(*user, "one", "red")).collect::<Vec<_>>();
    let answers = join_all(last.iter().map(|registration| world.devices.register(registration))).await;
    assert!(answers.iter().all(Result::is_ok));
    let owners = "SELECT count(*) FROM device_tokens WHERE fcm_token = 'red' AND deactivated_at IS NULL";
    assert_eq!(world.count(owners).await, 1);
    assert_eq!(world.deadlocks().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_swap_their_tokens_do_not_deadlock() {
    let world = World::new().await;
    let (ann, bob) = (world.user(None).await, world.user(None).await);
    for turn in 0..50 {
        let (red, green) = if turn % 2 == 0 { ("red", "green") } else { ("green", "red") };
        let (of_ann, of_bob) = (registration(ann, "d", red), registration(bob, "d", green));
        let both = tokio::join!(world.devices.register(&of_ann), world.devices.register(&of_bob));
        assert!(matches!(both, (Ok(_), Ok(_))), "{both:?}");
    }
    assert_eq!(world.deadlocks().await, 0);
}

#[tokio::test]
async fn one_device_too_many_retires_the_oldest() {
    let world = World::new().await;
    let user = world.user(None).await;
    let (active, inactive) = (world.config.devices.active_max, world.config.devices.inactive_max);
    for number in 0..active + inactive + 3 {
        world.clock.advance(Duration::from_secs(1));
        let name = format!("device-{number:03}");
        let (device, created) = world.devices.register(&registration(user, &name, &name)).await.unwrap();
        assert!(created && device.deactivated_at.is_none());
    }

    let retired = retired(&world, user).await;

    assert_eq!(pushable(&world, user).await.len(), active as usize);
    assert_eq!(retired.len(), inactive as usize, "older ones are deleted");
    assert_eq!(retired[0], ("device-003".to_owned(), "device_limit".to_owned()));
}

#[tokio::test]
async fn a_logout_retires_what_it_registered_and_nothing_after_it() {
    let world = World::new().await;
    let user = world.user(None).await;
    let (session, other) = (world.login(user).await, world.login(user).await);
    let mine = Registration { session, ..registration(user, "mine", "mine") };
    let kept = Registration { session: other, ..registration(user, "kept", "kept") };
    world.devices.register(&mine).await.unwrap();
    world.devices.register(&kept).await.unwrap();

    let mut tx = world.pool.begin().await.unwrap();
    sqlx::query("UPDATE sessions SET revoked_at = now(), revoked_reason = 'logout' WHERE id = $1")
        .bind(session.0)
        .execute(&mut *tx)
        .await
        .unwrap();
    retire_for_session(&mut tx, session, world.clock.now()).await.unwrap();
    tx.commit().await.unwrap();

    assert_eq!(pushable(&world, user).await, ["kept"]);
    assert_eq!(retired(&world, user).await, [("mine".to_owned(), "logout".to_owned())]);
    world.devices.register(&mine).await.unwrap_err();
    assert_eq!(pushable(&world, user).await, ["kept"]);
}

#[tokio::test]
async fn a_dead_token_is_retired_unless_it_was_registered_again() {
    let world = World::new().await;
    let user = world.user(None).await;
    let (device, _) = world.devices.register(&registration(user, "d", "t")).await.unwrap();
    let devices = push_devices(&world);
    let attempted = devices.active(user).await.unwrap().remove(0);
    assert_eq!(attempted.id, device.id);
    world.clock.advance(Duration::from_secs(1));
    world.devices.register(&registration(user, "d", "t")).await.unwrap();

    assert!(!devices.retire(&attempted, "unregistered").await.unwrap());
    assert_eq!(pushable(&world, user).await, ["t"]);
    let attempted = devices.active(user).await.unwrap().remove(0);
    assert!(devices.retire(&attempted, "unregistered").await.unwrap());
    assert!(!devices.retire(&attempted, "unregistered").await.unwrap());
    assert_eq!(retired(&world, user).await, [("d".to_owned(), "unregistered".to_owned())]);
}

#[tokio::test]
async fn a_token_that_no_app_refreshes_is_passed_over_and_retired() {
    let world = World::new().await;
    let user = world.user(None).await;
    put_token(&world, user, "old", "old").await;
    world.clock.advance(DAY * 60);
    put_token(&world, user, "new", "new").await;
    assert_eq!(pushable(&world, user).await, ["new", "old"]);
    assert_eq!(world.devices.retire_stale().await.unwrap(), 0);

    world.clock.advance(Duration::from_secs(1));
    assert_eq!(pushable(&world, user).await, ["new"]);
    let shutdown = Shutdown::new();
    shutdown.spawn("devices.stale", run_stale_job(Arc::clone(&world.devices), shutdown.clone()));
    let gone = async { while retired(&world, user).await.is_empty() {} };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();

    assert_eq!(retired(&world, user).await, [("old".to_owned(), "stale".to_owned())]);
    shutdown.stop();
    assert!(shutdown.finished(Duration::from_secs(30)).await);
}

#[tokio::test]
async fn a_registration_makes_what_waited_for_a_device_due() {
    let world = World::new().await;
    let (user, other) = (world.user(None).await, world.user(None).await);
    for user in [user, other] {
        let parked = "INSERT INTO events (id, user_id, seq, kind, body, expires_at, due_at, reason)
             SELECT gen_random_uuid(), $1, n, 'TEST', '{}', now() + interval '1 day', now() + interval '1 day', reason
             FROM unnest(ARRAY['no_device', 'token_dead', 'refused']) WITH ORDINALITY AS waits (reason, n)";
        sqlx::query(parked).bind(user.0).execute(&world.pool).await.unwrap();
    }

    put_token(&world, user, "phone", "token").await;

    let due: Vec<(UserId, i64)> =
        sqlx::query_as("SELECT user_id, seq FROM events WHERE due_at <= now() ORDER BY seq")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!(due, [(user, 1), (user, 2)]);
}
