//! Profiles, other people, and our public keys.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Node, PASSWORD, Parts, json_request, key_ring};
use crate::domain::ids::UserId;
use crate::domain::tokens::{KeyAlgorithm, generate_private_key};
use crate::features::accounts::display_name;

#[tokio::test]
async fn a_profile_changes_only_in_what_was_sent() {
    let node = Node::start().await;
    let ann = node.join("ann").await;
    let before = node.get("/users/me", &ann.access).await.expect(StatusCode::OK);
    node.clock.advance(std::time::Duration::from_secs(1));
    let change = json!({
        "fullName": "Ann Lee", "displayName": "Annie 🚦", "phoneNumber": "+45 (12) 34-56", "avatarColor": "#ff8800",
        "avatarUrl": "https://cdn.example/a.png?size=2",
    });
    let after = node.put("/users/me", &ann.access, change.clone()).await.expect(StatusCode::OK);
    let mut expected = before.clone();
    for (field, value) in change.as_object().unwrap() {
        expected[field] = value.clone();
    }
    expected["updatedAt"] = after["updatedAt"].clone();
    assert_eq!(after, expected);
    assert_ne!(after["updatedAt"], before["updatedAt"]);

    let change = json!({"phoneNumber": null, "email": " New@Example.com", "username": "Annie"});
    let after = node.put("/users/me", &ann.access, change).await.expect(StatusCode::OK);
    assert_eq!((&after["phoneNumber"], &after["displayName"]), (&Value::Null, &json!("Annie 🚦")));
    assert_eq!((&after["email"], &after["username"]), (&json!("new@example.com"), &json!("Annie")));
    assert_eq!(node.get("/users/me", &ann.access).await.expect(StatusCode::OK), after);
    node.post("/auth/login", json!({"email": "new@example.com", "password": PASSWORD}))
        .await
        .expect(StatusCode::OK);
    node.post("/auth/login", json!({"email": "ann@example.com", "password": PASSWORD}))
        .await
        .refused(401, "bad_credentials");
    node.put("/users/me", &ann.access, json!({})).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn each_bad_field_of_a_profile_is_refused_and_changes_nothing() {
    let node = Node::start().await;
    let ann = node.join("ann").await;
    node.join("ben").await;
    let before = node.get("/users/me", &ann.access).await.expect(StatusCode::OK);
    for (field, value) in [
        ("username", json!(null)),
        ("username", json!("x")),
        ("email", json!(null)),
        ("email", json!("nonsense")),
        ("displayName", json!("x".repeat(101))),
        ("displayName", json!("")),
        ("displayName", json!("a\nb")),
        ("fullName", json!("a\u{0}b")),
        ("fullName", json!(["Ann"])),
        ("phoneNumber", json!("call me")),
        ("phoneNumber", json!("1".repeat(33))),
        ("avatarUrl", json!("javascript:alert(1)")),
        ("avatarUrl", json!("/relative.png")),
        ("avatarUrl", json!("https://")),
        ("avatarUrl", json!(format!("https://x.example/{}", "a".repeat(2048)))),
        ("avatarColor", json!("red; background:url(x)")),
    ] {
        node.put("/users/me", &ann.access, json!({"displayName": "No", field: value}))
            .await
            .refused(422, "invalid_body");
    }
    node.put("/users/me", &ann.access, json!({"username": "BEN"})).await.refused(409, "username_taken");
    node.put("/users/me", &ann.access, json!({"email": "ben@example.com"})).await.refused(409, "email_taken");
    assert_eq!(node.get("/users/me", &ann.access).await.expect(StatusCode::OK), before);
}

#[tokio::test]
async fn others_see_neither_email_nor_phone_number() {
    let node = Node::start().await;
    let (ann, eve) = (node.join("Ann").await, node.join("eve").await);
    node.put("/users/me", &ann.access, json!({"phoneNumber": "+4512345678"})).await.expect(StatusCode::OK);
    let expected = json!({
        "id": ann.id, "username": "Ann", "fullName": null, "displayName": null, "avatarUrl": null, "avatarColor": null,
    });
    assert_eq!(node.get("/users/ann", &eve.access).await.expect(StatusCode::OK), expected);
    let found = node.get("/users?query=an", &eve.access).await.expect(StatusCode::OK);
    assert_eq!(found, json!({"items": [expected], "next": null}));
    for hidden in ["example.com", "%2B45", "4512345678"] {
        let found = node.get(&format!("/users?query={hidden}"), &eve.access).await.expect(StatusCode::OK);
        assert_eq!(found["items"], json!([]));
    }
    for unknown in ["nobody", "a%00b", "%25", "..%2fme", "x", "ann@example.com"] {
        node.get(&format!("/users/{unknown}"), &eve.access).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_search_finds_parts_of_names_literally_and_page_by_page() {
    let node = Node::start().await;
    let ann = node.join("ann").await;
    for number in 0..5 {
        let body = json!({
            "username": format!("user_{number}"), "email": format!("{number}@x.example"), "password": PASSWORD,
            "fullName": format!("Søren 100% No{number}"),
        });
        node.post("/users/register", body).await.expect(StatusCode::CREATED);
    }
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|user| user["username"].as_str().unwrap().to_owned()).collect()
    };
    let mut found = Vec::new();
    let mut path = "/users?query=USER_&limit=2".to_owned();
    loop {
        let page = node.get(&path, &ann.access).await.expect(StatusCode::OK);
        assert!(page["items"].as_array().unwrap().len() <= 2);
        found.extend(names(&page));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/users?query=USER_&limit=2&after={next}");
    }
    assert_eq!(found, ["user_0", "user_1", "user_2", "user_3", "user_4"]);
    for (query, count) in
        [("s%C3%B8ren", 5), ("100%25", 5), ("1%25", 0), ("no3", 1), ("user%5F4", 1), ("", 6), ("%5C", 0)]
    {
        let page = node.get(&format!("/users?query={query}"), &ann.access).await.expect(StatusCode::OK);
        assert_eq!(names(&page).len(), count, "{query}");
    }
    assert_eq!(names(&node.get("/users", &ann.access).await.expect(StatusCode::OK)).len(), 6);
    for bad in [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=x",
        "after=x",
        "query=%00",
        &format!("query={}", "x".repeat(101)),
    ] {
        node.get(&format!("/users?{bad}"), &ann.access).await.refused(400, "bad_parameter");
    }
}

#[tokio::test]
async fn a_person_is_called_by_the_best_name_there_is() {
    let node = Node::start().await;
    let ann = node.join("ann").await;
    let id = UserId(ann.id.parse().unwrap());
    let mut conn = node.pool.acquire().await.unwrap();
    assert_eq!(display_name(&mut conn, id).await.unwrap().as_deref(), Some("ann"));
    for (field, name) in [("fullName", "Ann Lee"), ("displayName", "Annie")] {
        node.put("/users/me", &ann.access, json!({field: name})).await.expect(StatusCode::OK);
        assert_eq!(display_name(&mut conn, id).await.unwrap().as_deref(), Some(name));
    }
    assert_eq!(display_name(&mut conn, UserId(Uuid::nil())).await.unwrap(), None);
}

#[tokio::test]
async fn the_token_of_an_account_that_is_gone_is_worth_nothing() {
    let node = Node::start().await;
    let ann = node.join("ann").await;
    sqlx::query!("DELETE FROM users").execute(&node.pool).await.unwrap();
    node.get("/users/me", &ann.access).await.refused(401, "unauthenticated");
    node.put("/users/me", &ann.access, json!({"displayName": "x"})).await.refused(401, "unauthenticated");
    node.post("/auth/refresh", json!({"refreshToken": ann.refresh})).await.refused(401, "bad_refresh_token");
}

#[tokio::test]
async fn the_key_set_holds_public_keys_alone() {
    let mut parts = Parts::new().await;
    let algorithms = [KeyAlgorithm::ES256, KeyAlgorithm::RS256, KeyAlgorithm::EdDSA, KeyAlgorithm::HS256];
    let keys =
        algorithms.map(|algorithm| (format!("{algorithm:?}"), algorithm, generate_private_key(algorithm)));
    parts.keys = std::sync::Arc::new(key_ring(keys));
    let node = parts.start();
    let answer = node.send(json_request(Method::GET, "/.well-known/jwks.json", &json!({}))).await;
    let set = answer.expect(StatusCode::OK);
    let keys = set["keys"].as_array().unwrap();
    let kids: Vec<&str> = keys.iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(kids, ["ES256", "RS256", "EdDSA"], "a shared secret is nobody's business");
    for key in keys {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key.get(private).is_none(), "{key}");
        }
    }
}
