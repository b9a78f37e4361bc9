//! Who sees whose light, when it changes and when it lapses.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::future::join_all;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::delivery::dispatcher::Dispatcher;
use crate::domain::clock::Clock as _;
use crate::domain::ids::UserId;
use crate::features::fixture::{World, kinds};
use crate::features::linking::{self, LinkingError};
use crate::features::status::{self, Status};
use crate::shutdown::Shutdown;

#[tokio::test]
async fn before_any_change_one_is_offline_and_alone() {
    let world = World::new().await;
    let user = world.user(None).await;

    let me = world.get(user, "/me").await;

    assert_eq!(me.status, StatusCode::OK);
    let expected = json!({
        "id": user, "status": "OFFLINE", "statusExpiration": null, "statusDuration": null,
        "partnerId": null, "displayName": null
    });
    assert_eq!(me.body, expected);
    let partner = world.get(user, "/partner").await;
    assert_eq!((partner.status, partner.error()), (StatusCode::NOT_FOUND, "no_partner"));
}

#[tokio::test]
async fn a_change_is_answered_shown_and_told_to_both() {
    let world = World::new().await;
    let (ann, bob) = world.linked_pair().await;
    let now = world.clock.now().timestamp_millis();

    let answer =
        world.send_json(ann, "PATCH", "/status", &json!({"status": "BUSY", "durationSeconds": 60})).await;

    let ends = now + 60_000;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body, json!({"status": "BUSY", "userId": ann, "expiration": ends, "duration": 60}));
    let shown = json!({
        "id": ann, "status": "BUSY", "statusExpiration": ends, "statusDuration": 60,
        "partnerId": bob, "displayName": "Ann"
    });
    assert_eq!(world.get(ann, "/me").await.body, shown);
    assert_eq!(world.get(bob, "/partner").await.body, shown);
    assert_eq!(
        world.told(ann).await[1],
        json!({
            "type": "SELF_STATUS_CHANGED", "userId": ann, "status": "BUSY", "statusExpiration": ends,
            "timestamp": now, "push": null
        })
    );
    assert_eq!(
        world.told(bob).await[1],
        json!({
            "type": "PARTNER_STATUS_CHANGED", "partnerId": ann, "status": "BUSY", "statusExpiration": ends,
            "timestamp": now, "push": {
                "text": "partner_status_changed.busy", "args": {"name": "Ann"},
                "data": {"actorId": ann, "status": "BUSY"},
                "collapse_key": format!("partner_status_changed.{ann}")
            }
        })
    );
}

#[tokio::test]
async fn a_single_and_a_nameless_person_can_change_too() {
    let world = World::new().await;
    let (single, nameless) = (world.user(Some("Sam")).await, world.user(None).await);
    world.status.set(single, Status::Busy, None).await.unwrap();
    world.link(nameless, single).await;

    world.status.set(nameless, Status::Available, None).await.unwrap();

    assert_eq!(
        kinds(&world.told(single).await),
        ["SELF_STATUS_CHANGED", "PARTNER_LINKED", "PARTNER_STATUS_CHANGED"]
    );
    assert_eq!(world.told(single).await[2]["push"]["args"], json!({}));
}

#[tokio::test]
async fn every_wrong_status_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let (ann, bob) = world.linked_pair().await;
    let max = world.config.status.duration_seconds_max;
    let wrong = [
        json!({"status": "available"}),
        json!({"status": "AWAY"}),
        json!({"status": null}),
        json!({"status": 1}),
        json!({}),
        json!([]),
        json!("BUSY"),
        json!({"status": "BUSY", "durationSeconds": 0}),
        json!({"status": "BUSY", "durationSeconds": -1}),
        json!({"status": "BUSY", "durationSeconds": 1.5}),
        json!({"status": "BUSY", "durationSeconds": "60"}),
        json!({"status": "BUSY", "durationSeconds": u64::from(max) + 1}),
        json!({"status": "BUSY", "durationSeconds": i64::MAX}),
        json!({"status": "BUSY", "userId": bob}),
    ];

    for body in wrong {
        let answer = world.send_json(ann, "PATCH", "/status", &body).await;
        assert_eq!(
            (answer.status, answer.error()),
            (StatusCode::UNPROCESSABLE_ENTITY, "invalid_body"),
            "{body}"
        );
    }

    let malformed = world.send_text(ann, "PATCH", "/status", "{\"status\":").await;
    assert_eq!((malformed.status, malformed.error()), (StatusCode::BAD_REQUEST, "malformed_body"));
    assert_eq!(kinds(&world.told(bob).await), ["PARTNER_LINKED"]);
    let longest = json!({"status": "BUSY", "durationSeconds": max});
    assert_eq!(world.send_json(ann, "PATCH", "/status", &longest).await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_a_token_or_an_account_nothing_is_answered() {
    let world = World::new().await;
    let nobody = UserId::generate();
    for (method, path) in [("GET", "/me"), ("GET", "/partner"), ("PATCH", "/status")] {
        let anonymous = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        assert_eq!(world.send(anonymous).await.error(), "unauthenticated", "{method} {path}");
    }
    assert_eq!(world.get(nobody, "/me").await.error(), "unauthenticated");
    let answer = world.send_json(nobody, "PATCH", "/status", &json!({"status": "BUSY"})).await;
    assert_eq!((answer.status, answer.error()), (StatusCode::UNAUTHORIZED, "unauthenticated"));
}

#[tokio::test]
async fn a_timed_status_lapses_once_to_what_was_before_it() {
    let world = World::new().await;
    let (ann, bob) = world.linked_pair().await;
    let set = |status, seconds| world.status.set(ann, status, seconds);
    set(Status::Available, None).await.unwrap();
    set(Status::Busy, Some(60)).await.unwrap();
    set(Status::Offline, Some(90)).await.unwrap();

    world.clock.advance(Duration::from_millis(89_999));
    assert_eq!(world.status.lapse().await.unwrap(), 0);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.get(ann, "/me").await.body["status"], "AVAILABLE", "shown before the job comes by");
    assert_eq!(world.status.lapse().await.unwrap(), 1);
    assert_eq!(world.status.lapse().await.unwrap(), 0);

    let me = world.get(ann, "/me").await.body;
    assert_eq!(
        (&me["status"], &me["statusExpiration"], &me["statusDuration"]),
        (&json!("AVAILABLE"), &Value::Null, &Value::Null)
    );
    let now = world.clock.now().timestamp_millis();
    let told = world.told(ann).await;
    assert_eq!(told.len(), 5);
    assert_eq!(
        told[4],
        json!({
            "type": "SELF_STATUS_CHANGED", "userId": ann, "status": "AVAILABLE",
            "statusExpiration": null, "timestamp": now, "push": null
        })
    );
    let told = world.told(bob).await;
    assert_eq!(told.len(), 5);
    assert_eq!((&told[4]["status"], &told[4]["partnerId"]), (&json!("AVAILABLE"), &json!(ann)));
    assert_eq!(told[4]["push"]["args"]["name"], "Ann");
}

#[tokio::test]
async fn a_plain_change_clears_the_timer() {
    let world = World::new().await;
    let (ann, bob) = world.linked_pair().await;
    world.status.set(ann, Status::Busy, Some(1)).await.unwrap();
    world.status.set(ann, Status::Busy, None).await.unwrap();

    world.clock.advance(Duration::from_secs(10));

    assert_eq!(world.status.lapse().await.unwrap(), 0);
    assert_eq!(world.get(bob, "/partner").await.body["status"], "BUSY");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_nodes_end_each_status_once() {
    const USERS: usize = 30;
    let world = World::new().await;
    let users = join_all((0..USERS).map(|_| world.user(None))).await;
    for user in &users {
        world.status.set(*user, Status::Busy, Some(1)).await.unwrap();
    }
    world.clock.advance(Duration::from_secs(1));
    let config = status::Config { lapse_batch_max: 4, ..world.config.status.clone() };
    let nodes: Vec<_> = (0..4)
        .map(|_| {
            status::Service::new(world.pool.clone(), world.clock.clone(), Dispatcher::idle(), config.clone())
        })
        .collect();

    // A node may pass over rows that others hold; whatever is left falls to the next round.
    let mut ended = 0;
    while ended < USERS {
        let round: usize =
            join_all(nodes.iter().map(|node| node.lapse())).await.into_iter().map(Result::unwrap).sum();
        ended += round;
        assert!(round > 0, "ended {ended}");
    }

    assert_eq!(ended, USERS);
    for user in users {
        assert_eq!(kinds(&world.told(user).await), ["SELF_STATUS_CHANGED"; 2]);
    }
    assert_eq!(world.deadlocks().await, 0);
}

#[tokio::test]
async fn the_job_ends_what_is_due_after_a_restart() {
    let world = World::new().await;
    let user = world.user(None).await;
    world.status.set(user, Status::Busy, Some(1)).await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    let restarted = status::Service::new(
        world.pool.clone(),
        world.clock.clone(),
        Dispatcher::idle(),
        world.config.status.clone(),
    );
    let shutdown = Shutdown::new();
    shutdown.spawn("status.lapse", status::run_lapse_job(restarted, shutdown.clone()));

    let lapsed = async { while world.told(user).await.len() < 2 {} };
    tokio::time::timeout(Duration::from_secs(30), lapsed).await.unwrap();

    shutdown.stop();
    assert!(shutdown.finished(Duration::from_secs(30)).await);
}

/// Three people change their lights as fast as they can, while they link and part in turn. Whoever is told
/// of a light is linked to its owner at that point of their own sequence.
#[tokio::test(flavor = "multi_thread")]
async fn an_unlinked_partner_receives_nothing_and_nobody_deadlocks() {
    const CHANGES: usize = 200;
    let world = Arc::new(World::new().await);
    let users = [world.user(Some("Ann")).await, world.user(None).await, world.user(Some("Cid")).await];

    let changes = users.map(|user| {
        let world = world.clone();
        async move {
            for turn in 0..CHANGES {
                let status = Status::ALL[turn % 3];
                let duration = (turn % 5 == 0).then_some(1);
                world.status.set(user, status, duration).await.unwrap();
            }
        }
    });
    let churn = async {
        for turn in 0..60 {
            let (one, other) = (users[turn % 3], users[(turn + 1) % 3]);
            world.link(one, other).await;
            world.clock.advance(Duration::from_millis(300));
            world.status.lapse().await.unwrap();
            let leaver = if turn % 2 == 0 { one } else { other };
            world.linking.unlink(leaver).await.unwrap();
            assert!(matches!(world.linking.unlink(leaver).await, Err(LinkingError::NoPartner)));
        }
    };
    tokio::join!(join_all(changes), churn);

    let mut told_of_partners = 0;
    for user in users {
        let mut partner = Value::Null;
        let told = world.told(user).await;
        for event in &told {
            match event["type"].as_str().unwrap() {
                "PARTNER_LINKED" => partner = event["partnerId"].clone(),
                "PARTNER_UNLINKED" => partner = Value::Null,
                "PARTNER_STATUS_CHANGED" => {
                    assert_eq!(event["partnerId"], partner, "told of a stranger");
                    told_of_partners += 1;
                }
                _ => {}
            }
        }
        assert!(kinds(&told).iter().filter(|kind| **kind == "SELF_STATUS_CHANGED").count() >= CHANGES);
    }
    assert!(told_of_partners > 0, "the churn left no moment in which two were linked");
    assert_eq!(world.deadlocks().await, 0);
}

/// Both features have a method of `/partner`; merging their routers must lose neither, here or in the document.
#[tokio::test]
async fn the_partner_is_one_resource_of_two_features() {
    let world = World::new().await;
    let (_, document) = utoipa_axum::router::OpenApiRouter::new()
        .merge(linking::routes(world.linking.clone()))
        .merge(status::routes(world.status.clone()))
        .split_for_parts();

    let partner = &document.paths.paths["/partner"];

    assert!(partner.get.is_some() && partner.delete.is_some());
}
