//! Two people become a couple, and part again.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::client::{Client, link};
use crate::shape::assert_shape;
use crate::shared::{couple, database, person, socket_at};

async fn offer(owner: &Client) -> (String, String) {
    let session = owner.post("/linking/sessions", Value::Null).await.expect(201);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (format!("/linking/sessions/{}", text(&session["sessionId"])), text(&session["linkCode"]))
}

async fn confirm(client: &Client, code: &str) -> crate::client::Response {
    client.post("/linking/sessions/confirm", json!({"linkCode": code})).await
}

#[tokio::test]
async fn a_code_is_shown_typed_in_and_confirmed() {
    let (ada, ben) = tokio::join!(person("ada"), person("ben"));
    let before = Utc::now();
    let session = ada.post("/linking/sessions", Value::Null).await.expect(201);
    assert_shape(&session, &json!({"sessionId": "<uuid>", "linkCode": "<text>", "expiresAt": "<iso>"}));
    let code = session["linkCode"].as_str().unwrap();
    assert_eq!(code.len(), 10);
    assert!(code.bytes().all(|byte| b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789".contains(&byte)), "{code}");
    let expires_at: DateTime<Utc> = session["expiresAt"].as_str().unwrap().parse().unwrap();
    assert!((290..=310).contains(&(expires_at - before).num_seconds()), "{expires_at}");

    let path = format!("/linking/sessions/{}", session["sessionId"].as_str().unwrap());
    let state = |status: &str| json!({"sessionId": session["sessionId"], "status": status});
    assert_eq!(ada.get(&path).await.expect(200), state("PENDING"));
    ben.get(&path).await.expect_problem(404, "not_found");
    assert_eq!(confirm(&ben, &format!(" {}\n", code.to_lowercase())).await.expect(200), state("CONFIRMED"));
    assert_eq!(ada.get(&path).await.expect(200), state("CONFIRMED"));
    ben.get(&path).await.expect_problem(404, "not_found");

    for (me, other) in [(&ada, &ben), (&ben, &ada)] {
        assert_eq!(me.get("/me").await.expect(200)["partnerId"], other.id.as_str());
        let partner = other.get("/me").await.expect(200);
        assert_eq!(me.get("/partner").await.expect(200), partner);
    }
}

#[tokio::test]
async fn both_are_told_on_all_their_devices_when_they_are_linked_and_when_they_part() {
    let (ada, ben) = tokio::join!(person("ada"), person("ben"));
    let mut sockets = Vec::new();
    for (me, other, node) in [(&ada, &ben, 0), (&ada, &ben, 1), (&ben, &ada, 2), (&ben, &ada, 0)] {
        sockets.push((other, socket_at(me, node).await));
    }

    link(&ada, &ben).await;
    for (other, socket) in &mut sockets {
        let linked = json!({
            "type": "PARTNER_LINKED", "partnerId": other.id, "timestamp": "<ms>", "id": "<uuid>", "seq": 1,
        });
        assert_shape(&socket.next_event().await, &linked);
    }

    assert_eq!(ben.delete("/partner").await.expect(204), Value::Null);
    for (other, socket) in &mut sockets {
        let unlinked = json!({
            "type": "PARTNER_UNLINKED", "partnerId": other.id, "timestamp": "<ms>", "id": "<uuid>", "seq": 2,
        });
        assert_shape(&socket.next_event().await, &unlinked);
        socket.expect_nothing_more().await;
    }
    for client in [&ada, &ben] {
        assert_eq!(client.get("/me").await.expect(200)["partnerId"], Value::Null);
        client.get("/partner").await.expect_problem(404, "no_partner");
        client.delete("/partner").await.expect_problem(404, "no_partner");
    }
    // Nothing keeps them from starting again.
    link(&ben, &ada).await;
}

#[tokio::test]
async fn a_code_that_cannot_be_confirmed_says_why() {
    let (ada, ben, cleo) = tokio::join!(person("ada"), person("ben"), person("cleo"));
    let (_, code) = offer(&ada).await;
    confirm(&ada, &code).await.expect_problem(400, "own_link_code");
    for blank in ["", "  \t"] {
        confirm(&ben, blank).await.expect_problem(400, "blank_link_code");
    }
    for unknown in ["ABCDEFGHJK", "nonsense", "ABCDEFGHJ0", "É"] {
        confirm(&ben, unknown).await.expect_problem(404, "unknown_link_code");
    }
    confirm(&ben, &code).await.expect(200);
    confirm(&cleo, &code).await.expect_problem(409, "link_code_used");
    confirm(&ben, &code).await.expect_problem(409, "link_code_used");
    ada.post("/linking/sessions", Value::Null).await.expect_problem(409, "already_linked");

    let (_, of_cleo) = offer(&cleo).await;
    confirm(&ben, &of_cleo).await.expect_problem(409, "already_linked");
    assert_eq!(cleo.get("/me").await.expect(200)["partnerId"], Value::Null);
}

#[tokio::test]
async fn the_owner_of_a_code_may_have_been_linked_meanwhile() {
    let (ada, ben, cleo) = tokio::join!(person("ada"), person("ben"), person("cleo"));
    let (_, of_ada) = offer(&ada).await;
    let (_, of_ben) = offer(&ben).await;
    confirm(&ada, &of_ben).await.expect(200);
    confirm(&cleo, &of_ada).await.expect_problem(409, "already_linked");
}

#[tokio::test]
async fn a_code_expires() {
    let (ada, ben) = tokio::join!(person("ada"), person("ben"));
    let (path, code) = offer(&ada).await;
    let moved =
        sqlx::query("UPDATE link_sessions SET expires_at = expires_at - interval '301 s' WHERE code = $1")
            .bind(&code)
            .execute(&database().await)
            .await
            .unwrap();
    assert_eq!(moved.rows_affected(), 1);

    confirm(&ben, &code).await.expect_problem(410, "link_code_expired");
    assert_eq!(ada.get(&path).await.expect(200)["status"], "EXPIRED");
    let (_, code) = offer(&ada).await;
    confirm(&ben, &code).await.expect(200);
}

#[tokio::test]
async fn an_offer_is_taken_back_by_its_owner_alone() {
    let (ada, ben) = tokio::join!(person("ada"), person("ben"));
    let (path, code) = offer(&ada).await;
    ben.delete(&path).await.expect_problem(404, "not_found");
    assert_eq!(ada.delete(&path).await.expect(204), Value::Null);
    ada.delete(&path).await.expect_problem(404, "not_found");
    ada.get(&path).await.expect_problem(404, "not_found");
    confirm(&ben, &code).await.expect_problem(404, "unknown_link_code");
    for unknown in ["0193a5c0-0000-7000-8000-000000000001", "nonsense"] {
        let path = format!("/linking/sessions/{unknown}");
        ada.get(&path).await.expect_problem(404, "not_found");
        ada.delete(&path).await.expect_problem(404, "not_found");
    }
    let (path, code) = offer(&ada).await;
    confirm(&ben, &code).await.expect(200);
    ada.delete(&path).await.expect_problem(409, "link_code_used");
}

#[tokio::test]
async fn wrong_codes_are_limited_per_user() {
    let (guesser, owner, other) = tokio::join!(person("eve"), person("ada"), person("ben"));
    for _ in 0..10 {
        confirm(&guesser, "ABCDEFGHJK").await.expect_problem(404, "unknown_link_code");
    }
    let (_, code) = offer(&owner).await;
    let refused = confirm(&guesser, &code).await.expect_problem(429, "rate_limited");
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    confirm(&other, &code).await.expect(200);
}

#[tokio::test]
async fn of_two_who_leave_at_once_one_is_told_that_there_is_nobody() {
    let (ada, ben) = couple().await;
    let answers = tokio::join!(ada.delete("/partner"), ben.delete("/partner"));
    let mut statuses = [answers.0.status, answers.1.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 404]);
}
