//! Making an account.

use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Node, PASSWORD, Parts, address, raw_request};

#[tokio::test]
async fn signing_up_logs_in() {
    let node = Node::start().await;
    let body = json!({"email": "ann@example.com", "password": PASSWORD, "displayName": "Ann"});
    let answer = node.post("/auth/register", body).await;
    assert!(answer.cookie().starts_with("jwt_token=ey"), "{}", answer.cookie());
    let body = answer.expect(StatusCode::CREATED);
    assert_eq!((&body["tokenType"], &body["expiresIn"]), (&json!("bearer"), &json!(900)));
    let user = &body["user"];
    assert_eq!((&user["email"], &user["displayName"]), (&json!("ann@example.com"), &json!("Ann")));
    let me = node.get("/users/me", body["accessToken"].as_str().unwrap()).await.expect(StatusCode::OK);
    assert_eq!(&me, user);
}

#[tokio::test]
async fn registering_a_username_answers_the_user_with_explicit_nulls() {
    let node = Node::start().await;
    let body =
        json!({"username": "Ann_1", "email": "a@example.com", "password": PASSWORD, "full_name": "Ann A"});
    let user = node.post("/users/register", body).await.expect(StatusCode::CREATED);
    let fields: Vec<&str> = user.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "id",
        "username",
        "email",
        "fullName",
        "displayName",
        "phoneNumber",
        "avatarUrl",
        "avatarColor",
        "createdAt",
        "updatedAt",
    ];
    expected.sort_unstable();
    assert_eq!(fields, expected);
    assert_eq!((&user["username"], &user["fullName"]), (&json!("Ann_1"), &json!("Ann A")));
    assert_eq!((&user["displayName"], &user["phoneNumber"]), (&Value::Null, &Value::Null));

    let body =
        json!({"username": "ben", "email": "b@example.com", "password": PASSWORD, "fullName": "Ben B"});
    let user = node.post("/users/register", body).await.expect(StatusCode::CREATED);
    assert_eq!(user["fullName"], "Ben B");
}

#[tokio::test]
async fn an_email_address_and_a_username_are_taken_once_however_they_are_spelled() {
    let node = Node::start().await;
    let body = json!({"username": "Ann", "email": "  Ann@Example.COM ", "password": PASSWORD});
    let user = node.post("/users/register", body).await.expect(StatusCode::CREATED);
    assert_eq!(user["email"], "ann@example.com");

    let body = json!({"email": "ANN@example.com", "password": PASSWORD});
    node.post("/auth/register", body).await.refused(409, "email_taken");
    let body = json!({"username": "aNN", "email": "other@example.com", "password": PASSWORD});
    node.post("/users/register", body).await.refused(409, "username_taken");
}

#[tokio::test]
async fn of_parallel_registrations_of_one_address_exactly_one_wins() {
    let node = Node::start().await;
    let body = json!({"email": "ann@example.com", "password": PASSWORD});
    let answers = join_all((0..10).map(|_| node.post("/auth/register", body.clone()))).await;
    let created = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    assert_eq!(created, 1);
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::CREATED) {
        answer.refused(409, "email_taken");
    }
}

#[tokio::test]
async fn each_bad_field_is_refused() {
    let node = Node::start().await;
    let good =
        json!({"username": "ann", "email": "ann@example.com", "password": PASSWORD, "full_name": "Ann"});
    let bad = [
        ("username", json!("ab")),
        ("username", json!("a".repeat(51))),
        ("username", json!("ann lee")),
        ("username", json!("ann@lee")),
        ("username", json!("annæ")),
        ("username", json!("ann\u{0}")),
        ("username", json!("login")),
        ("username", json!("Register")),
        ("username", json!(123)),
        ("username", Value::Null),
        ("email", json!("ann")),
        ("email", json!("@example.com")),
        ("email", json!("ann@exa mple.com")),
        ("email", json!("ann\u{0}@example.com")),
        ("email", json!("ænn@example.com")),
        ("email", json!(format!("{}@example.com", "a".repeat(250)))),
        ("email", json!(["ann@example.com"])),
        ("password", json!("seven77")),
        ("password", json!("x".repeat(101))),
        ("password", json!("🔑".repeat(65))),
        ("password", Value::Null),
        ("full_name", json!("x".repeat(101))),
        ("full_name", json!("  ")),
        ("full_name", json!("Ann\u{0}")),
        ("full_name", json!({"first": "Ann"})),
    ];
    for (field, value) in bad {
        let mut body = good.clone();
        body[field] = value;
        node.post("/users/register", body).await.refused(422, "invalid_body");
    }
    for field in ["username", "email", "password"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        node.post("/users/register", body).await.refused(422, "invalid_body");
    }
    node.post("/users/register", good).await.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn passwords_of_8_and_of_100_characters_are_accepted() {
    let node = Node::start().await;
    for (number, password) in
        ["eight888".to_owned(), "é".repeat(100), "x".repeat(100)].into_iter().enumerate()
    {
        let account = json!({"email": format!("{number}@example.com"), "password": password});
        node.post("/auth/register", account.clone()).await.expect(StatusCode::CREATED);
        node.post("/auth/login", account).await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn what_is_not_json_is_refused_before_anything_else() {
    let node = Node::start().await;
    for path in ["/auth/register", "/users/register", "/auth/login", "/users/login", "/auth/refresh"] {
        for body in ["", "{", "{\"", "nonsense", "{]"] {
            node.send(raw_request(Method::POST, path, body.to_owned())).await.refused(400, "malformed_body");
        }
        for body in ["[]", "null", "\"text\"", "7"] {
            node.send(raw_request(Method::POST, path, body.to_owned())).await.refused(422, "invalid_body");
        }
        let mut request = raw_request(Method::POST, path, "{}".to_owned());
        request.headers_mut().remove("content-type");
        node.send(request).await.refused(415, "unsupported_media_type");
    }
}

#[tokio::test]
async fn nobody_sets_what_is_not_his_to_set() {
    let node = Node::start().await;
    let ann = node.join("ann").await;
    let internal = [
        "id",
        "userId",
        "user_id",
        "role",
        "isAdmin",
        "verified",
        "passwordHash",
        "password_hash",
        "createdAt",
        "created_at",
        "updatedAt",
        "sid",
        "revokedAt",
    ];
    for field in internal {
        let mut sign_up = json!({"email": "new@example.com", "password": PASSWORD});
        sign_up[field] = json!("x");
        node.post("/auth/register", sign_up).await.refused(422, "invalid_body");
        let mut register = json!({"username": "new", "email": "new@example.com", "password": PASSWORD});
        register[field] = json!("x");
        node.post("/users/register", register).await.refused(422, "invalid_body");
        let mut log_in = json!({"username": "ann", "password": PASSWORD});
        log_in[field] = json!("x");
        node.post("/auth/login", log_in).await.refused(422, "invalid_body");
        node.put("/users/me", &ann.access, json!({field: "x"})).await.refused(422, "invalid_body");
    }
    node.put("/users/me", &ann.access, json!({"password": "another password"}))
        .await
        .refused(422, "invalid_body");
}

#[tokio::test]
async fn one_address_makes_a_limited_number_of_accounts() {
    let mut parts = Parts::new().await;
    parts.config.registrations_per_address_max = 3;
    let node = parts.start();
    let account = |number: u32| json!({"email": format!("{number}@example.com"), "password": PASSWORD});
    for number in 0..3 {
        node.post("/auth/register", account(number)).await.expect(StatusCode::CREATED);
    }
    let refused = node.post("/auth/register", account(3)).await;
    refused.refused(429, "rate_limited");
    assert_eq!(refused.retry_after(), 3600);
    node.post_from(address(2), "/auth/register", account(3)).await.expect(StatusCode::CREATED);
}
