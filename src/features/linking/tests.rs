//! Two people become partners, once, symmetrically, and part again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::future::join_all;
use http::{Request, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::domain::clock::Clock as _;
use crate::domain::ids::{LinkSessionId, UserId};
use crate::domain::random;
use crate::features::fixture::{Answer, World, kinds};
use crate::features::linking::{LinkCode, LinkingError};

async fn offer(world: &World, owner: UserId) -> (String, String) {
    let answer = world.send_text(owner, "POST", "/linking/sessions", "").await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let text = |name: &str| answer.body[name].as_str().unwrap().to_owned();
    (text("sessionId"), text("linkCode"))
}

async fn confirm(world: &World, caller: UserId, code: &str) -> Answer {
    world.send_json(caller, "POST", "/linking/sessions/confirm", &json!({"linkCode": code})).await
}

#[tokio::test]
async fn two_people_link_and_part() {
    let world = World::new().await;
    let (ann, bob) = (world.user(Some("Ann")).await, world.user(Some("Bob")).await);
    let now = world.clock.now();
    let offered = world.send_text(ann, "POST", "/linking/sessions", "").await;
    let expires_at: chrono::DateTime<chrono::Utc> =
        offered.body["expiresAt"].as_str().unwrap().parse().unwrap();
    assert_eq!(expires_at, now + Duration::from_mins(5));
    let (session, code) = (&offered.body["sessionId"], offered.body["linkCode"].as_str().unwrap());
    let path = format!("/linking/sessions/{}", session.as_str().unwrap());
    assert_eq!(world.get(ann, &path).await.body, json!({"sessionId": session, "status": "PENDING"}));

    let typed = format!("  {}\n", code.to_lowercase());
    let confirmed = confirm(&world, bob, &typed).await;

    assert_eq!(confirmed.status, StatusCode::OK);
    assert_eq!(confirmed.body, json!({"sessionId": session, "status": "CONFIRMED"}));
    assert_eq!(world.get(ann, &path).await.body["status"], "CONFIRMED");
    assert_eq!(world.get(ann, "/partner").await.body["id"], json!(bob));
    assert_eq!(world.get(bob, "/me").await.body["partnerId"], json!(ann));

    assert_eq!(world.delete(bob, "/partner").await.status, StatusCode::NO_CONTENT);
    for user in [ann, bob] {
        let gone = world.delete(user, "/partner").await;
        assert_eq!((gone.status, gone.error()), (StatusCode::NOT_FOUND, "no_partner"));
    }
    let timestamp = now.timestamp_millis();
    let push = |text: &str| {
        json!({
            "text": text, "args": {"name": "Bob"}, "data": {"actorId": bob},
            "collapse_key": format!("{text}.{bob}")
        })
    };
    let event = |kind: &str, partner: UserId, push: Value| json!({"type": kind, "partnerId": partner, "timestamp": timestamp, "push": push});
    assert_eq!(
        world.told(ann).await,
        [
            event("PARTNER_LINKED", bob, push("partner_linked")),
            event("PARTNER_UNLINKED", bob, push("partner_unlinked"))
        ]
    );
    assert_eq!(
        world.told(bob).await,
        [event("PARTNER_LINKED", ann, Value::Null), event("PARTNER_UNLINKED", ann, Value::Null)]
    );
}

#[tokio::test]
async fn every_refusal_has_its_code() {
    let world = World::new().await;
    let (ann, bob, cid) = (world.user(None).await, world.user(None).await, world.user(None).await);
    let (_, code) = offer(&world, ann).await;
    let (_, code_of_cid) = offer(&world, cid).await;
    let refused = async |caller, code: &str| {
        let answer = confirm(&world, caller, code).await;
        (answer.status.as_u16(), answer.error().to_owned())
    };

    assert_eq!(refused(bob, "").await, (400, "blank_link_code".to_owned()));
    assert_eq!(refused(bob, " \t ").await, (400, "blank_link_code".to_owned()));
    assert_eq!(refused(ann, &code).await, (400, "own_link_code".to_owned()));
    assert_eq!(refused(bob, "AAAAAAAAAA").await, (404, "unknown_link_code".to_owned()));
    assert_eq!(refused(bob, "no code\0at all").await, (404, "unknown_link_code".to_owned()));
    assert_eq!(confirm(&world, bob, &code).await.status, StatusCode::OK);
    assert_eq!(refused(cid, &code).await, (409, "link_code_used".to_owned()));
    assert_eq!(refused(bob, &code_of_cid).await, (409, "already_linked".to_owned()));
    let again = world.send_text(ann, "POST", "/linking/sessions", "").await;
    assert_eq!((again.status, again.error()), (StatusCode::CONFLICT, "already_linked"));

    for wrong in [json!({}), json!({"linkCode": 1}), json!({"linkCode": "A", "userId": ann}), json!([])] {
        let answer = world.send_json(bob, "POST", "/linking/sessions/confirm", &wrong).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (422, "invalid_body"), "{wrong}");
    }
    let nobody = UserId::generate();
    assert_eq!(refused(nobody, &code_of_cid).await, (401, "unauthenticated".to_owned()));
    assert_eq!(world.send_text(nobody, "POST", "/linking/sessions", "").await.error(), "unauthenticated");
    let anonymous = Request::delete("/partner").body(Body::empty()).unwrap();
    assert_eq!(world.send(anonymous).await.error(), "unauthenticated");
}

#[tokio::test]
async fn a_code_is_good_to_the_very_instant_of_its_expiry() {
    let world = World::new().await;
    let (ann, bob) = (world.user(None).await, world.user(None).await);
    let (session, code) = offer(&world, ann).await;
    let path = format!("/linking/sessions/{session}");

    world.clock.advance(Duration::from_mins(5));
    assert_eq!(world.get(ann, &path).await.body["status"], "PENDING");
    world.clock.advance(Duration::from_micros(1));
    assert_eq!(world.get(ann, &path).await.body["status"], "EXPIRED");
    let late = confirm(&world, bob, &code).await;
    assert_eq!((late.status, late.error()), (StatusCode::GONE, "link_code_expired"));

    let (_, code) = offer(&world, ann).await;
    world.clock.advance(Duration::from_mins(5));
    assert_eq!(confirm(&world, bob, &code).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_offer_is_its_owners_alone_and_can_be_taken_back() {
    let world = World::new().await;
    let (ann, bob) = (world.user(None).await, world.user(None).await);
    let (first, first_code) = offer(&world, ann).await;
    let (second, second_code) = offer(&world, ann).await;
    let path = format!("/linking/sessions/{second}");

    assert_eq!(world.get(ann, &format!("/linking/sessions/{first}")).await.error(), "not_found");
    assert_eq!(confirm(&world, bob, &first_code).await.error(), "unknown_link_code");
    for (method, path) in [("GET", path.as_str()), ("DELETE", path.as_str()), ("GET", "/linking/sessions/x")]
    {
        let answer = world.send_text(bob, method, path, "").await;
        assert_eq!((answer.status, answer.error()), (StatusCode::NOT_FOUND, "not_found"), "{method} {path}");
    }
    assert_eq!(world.delete(ann, &path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.delete(ann, &path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(confirm(&world, bob, &second_code).await.error(), "unknown_link_code");

    let (third, code) = offer(&world, ann).await;
    confirm(&world, bob, &code).await;
    let late = world.delete(ann, &format!("/linking/sessions/{third}")).await;
    assert_eq!((late.status, late.error()), (StatusCode::CONFLICT, "link_code_used"));
}

#[tokio::test]
async fn only_wrong_codes_are_counted_and_the_eleventh_is_refused() {
    let world = World::new().await;
    let (ann, bob) = (world.user(None).await, world.user(None).await);
    let (_, code) = offer(&world, ann).await;
    for _ in 0..20 {
        assert_eq!(confirm(&world, ann, &code).await.error(), "own_link_code");
    }

    let guesses = join_all((0..50).map(|_| confirm(&world, bob, "AAAAAAAAAA"))).await;

    let unknown = guesses.iter().filter(|answer| answer.status == StatusCode::NOT_FOUND).count();
    assert_eq!(unknown, 10, "exactly the limit, however many come at once");
    let refused = confirm(&world, bob, &code).await;
    assert_eq!((refused.status, refused.error()), (StatusCode::TOO_MANY_REQUESTS, "rate_limited"));
    assert_eq!(refused.headers["retry-after"], "60");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_concurrent_confirmers_exactly_one_wins() {
    let world = World::new().await;
    let owner = world.user(None).await;
    let confirmers = join_all((0..50).map(|_| world.user(None))).await;
    let (_, code) = offer(&world, owner).await;

    let answers = join_all(confirmers.iter().map(|user| confirm(&world, *user, &code))).await;

    let (won, lost): (Vec<_>, Vec<_>) =
        answers.iter().zip(&confirmers).partition(|(answer, _)| answer.status == StatusCode::OK);
    assert_eq!(won.len(), 1);
    assert!(lost.iter().all(|(answer, _)| answer.status == StatusCode::CONFLICT));
    assert_eq!(world.get(owner, "/me").await.body["partnerId"], json!(won[0].1));
    assert_eq!(world.count("SELECT count(*) FROM partners").await, 2);
    assert_eq!(world.count("SELECT count(*) FROM events").await, 2);
    assert_eq!(world.deadlocks().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_confirm_or_leave_each_other_at_once_do_not_deadlock() {
    let world = World::new().await;
    let (ann, bob) = (world.user(None).await, world.user(None).await);
    for _ in 0..50 {
        let (_, code_of_ann) = world.linking.offer(ann).await.unwrap();
        let (_, code_of_bob) = world.linking.offer(bob).await.unwrap();
        let confirmed = tokio::join!(
            world.linking.confirm(ann, code_of_bob.as_str()),
            world.linking.confirm(bob, code_of_ann.as_str())
        );
        assert!(
            matches!(
                confirmed,
                (Ok(_), Err(LinkingError::AlreadyLinked)) | (Err(LinkingError::AlreadyLinked), Ok(_))
            ),
            "{confirmed:?}"
        );
        let parted = tokio::join!(world.linking.unlink(ann), world.linking.unlink(bob));
        assert!(
            matches!(parted, (Ok(()), Err(LinkingError::NoPartner)) | (Err(LinkingError::NoPartner), Ok(()))),
            "{parted:?}"
        );
    }
    assert_eq!(world.told(ann).await.len(), 100);
    assert_eq!(world.deadlocks().await, 0);
}

/// Twenty people make, take back and confirm offers and leave each other, at random and all at once.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_links_and_parts_everybody_is_their_partners_partner() {
    const ROUNDS: usize = 40;
    let world = World::new().await;
    let users = join_all((0..20).map(|_| world.user(None))).await;
    let codes = Arc::new(Mutex::new(HashMap::<UserId, (LinkSessionId, LinkCode)>::new()));

    let act = async |user: UserId, dice: [u8; 2]| match dice[0] % 8 {
        0..=2 => world.linking.offer(user).await.map(|(session, code)| {
            codes.lock().insert(user, (session.id, code));
        }),
        3..=5 => {
            let owner = users[usize::from(dice[1]) % users.len()];
            let Some((_, code)) = codes.lock().get(&owner).cloned() else { return Ok(()) };
            world.linking.confirm(user, code.as_str()).await.map(drop)
        }
        6 => {
            let Some((session, _)) = codes.lock().get(&user).cloned() else { return Ok(()) };
            world.linking.cancel(user, session).await
        }
        _ => world.linking.unlink(user).await,
    };
    let lives = users.iter().map(|user| async {
        for _ in 0..ROUNDS {
            let result = act(*user, random::bytes()).await;
            assert!(!matches!(result, Err(LinkingError::Database(_))), "{result:?}");
        }
    });
    join_all(lives).await;

    let lonely = "SELECT count(*) FROM partners p WHERE NOT EXISTS
                  (SELECT 1 FROM partners q WHERE q.user_id = p.partner_id AND q.partner_id = p.user_id)";
    assert_eq!(world.count(lonely).await, 0);
    let mut links = 0;
    for user in &users {
        let told = world.told(*user).await;
        let mut partner = Value::Null;
        for event in &told {
            if event["type"] == "PARTNER_LINKED" {
                assert_eq!(partner, Value::Null, "linked twice");
                partner = event["partnerId"].clone();
                links += 1;
            } else {
                assert_eq!(event["partnerId"], partner, "{:?}", kinds(&told));
                partner = Value::Null;
            }
        }
        assert_eq!(world.get(*user, "/me").await.body["partnerId"], partner, "what was told is what is");
    }
    assert!(links > 0, "nobody ever met");
    assert_eq!(world.deadlocks().await, 0);
}

#[tokio::test]
async fn the_database_refuses_a_half_link_and_a_second_partner() {
    let world = World::new().await;
    let (ann, bob) = world.linked_pair().await;
    let cid = world.user(None).await;
    let insert = async |one: UserId, other: UserId| {
        sqlx::query("INSERT INTO partners (user_id, partner_id, linked_at) VALUES ($1, $2, now())")
            .bind(one.0)
            .bind(other.0)
            .execute(&world.pool)
            .await
    };

    assert!(insert(cid, ann).await.is_err(), "half a link");
    assert!(insert(ann, cid).await.is_err(), "a second partner");
    assert!(insert(cid, cid).await.is_err(), "oneself");

    sqlx::query("DELETE FROM partners WHERE user_id = $1").bind(ann.0).execute(&world.pool).await.unwrap();
    assert_eq!(world.get(bob, "/me").await.body["partnerId"], Value::Null, "both sides go together");
}
