//! What is refused, and how: every endpoint against every kind of bad input.

use http::Method;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::client::{Api, PASSWORD};
use crate::examples::tokens::Forged;
use crate::shared::{cluster, person};

/// Every endpoint with a body, an example of one, and whether it needs a token.
fn endpoints_with_body() -> [(Method, &'static str, Value); 16] {
    let device = json!({"deviceId": "phone", "fcmToken": "t", "platform": "android"});
    [
        (Method::POST, "/auth/register", json!({"email": "a@example.com", "password": PASSWORD})),
        (
            Method::POST,
            "/users/register",
            json!({"username": "ann", "email": "a@example.com", "password": PASSWORD}),
        ),
        (Method::POST, "/auth/login", json!({"email": "a@example.com", "password": PASSWORD})),
        (Method::POST, "/users/login", json!({"username": "ann", "password": PASSWORD})),
        (Method::POST, "/auth/refresh", json!({"refreshToken": "made-up"})),
        (Method::PUT, "/users/me", json!({"displayName": "Ann"})),
        (Method::PATCH, "/status", json!({"status": "BUSY"})),
        (Method::POST, "/linking/sessions/confirm", json!({"linkCode": "ABCDEFGHJK"})),
        (Method::PUT, "/devices/fcm-token", device),
        (Method::POST, "/channels", json!({"name": "general"})),
        (Method::POST, MEMBERS, json!({"userId": "0193a5c0-0000-7000-8000-000000000001"})),
        (
            Method::POST,
            "/messages",
            json!({"channelId": "0193a5c0-0000-7000-8000-000000000001", "content": "Hello"}),
        ),
        (Method::PUT, MESSAGE, json!({"content": "Hello"})),
        (Method::POST, READ, json!({"messageId": "0193a5c0-0000-7000-8000-000000000001"})),
        (Method::PUT, PREFERENCES, json!({"quietHours": null})),
        (Method::PUT, CHANNEL_PREFERENCES, json!({"mutedUntil": null})),
    ]
}

/// One that there is not.
const MESSAGE: &str = "/messages/0193a5c0-0000-7000-8000-000000000001";
/// One that there is not.
const UPLOAD: &str = "/uploads/0193a5c0-0000-7000-8000-000000000001";
/// Of a channel that there is not.
const READ: &str = "/channels/0193a5c0-0000-7000-8000-000000000001/read";

const PREFERENCES: &str = "/notification-preferences";
/// Of a channel that there is not.
const CHANNEL_PREFERENCES: &str = "/notification-preferences/channels/0193a5c0-0000-7000-8000-000000000001";

/// Whose every field may be absent.
const PARTIAL: [&str; 3] = ["/users/me", PREFERENCES, CHANNEL_PREFERENCES];

/// Of a channel that there is not.
const MEMBERS: &str = "/channels/0193a5c0-0000-7000-8000-000000000001/members";

const PROTECTED: [(Method, &str); 44] = [
    (Method::POST, "/auth/logout"),
    (Method::GET, "/auth/sessions"),
    (Method::DELETE, "/auth/sessions/0193a5c0-0000-7000-8000-000000000001"),
    (Method::GET, "/users/me"),
    (Method::PUT, "/users/me"),
    (Method::GET, "/users"),
    (Method::GET, "/users/ann"),
    (Method::GET, "/me"),
    (Method::GET, "/partner"),
    (Method::DELETE, "/partner"),
    (Method::PATCH, "/status"),
    (Method::POST, "/linking/sessions"),
    (Method::POST, "/linking/sessions/confirm"),
    (Method::PUT, "/devices/fcm-token"),
    (Method::DELETE, "/devices/fcm-token/phone"),
    (Method::POST, "/channels"),
    (Method::GET, "/channels"),
    (Method::GET, "/channels/0193a5c0-0000-7000-8000-000000000001"),
    (Method::PUT, "/channels/0193a5c0-0000-7000-8000-000000000001"),
    (Method::DELETE, "/channels/0193a5c0-0000-7000-8000-000000000001"),
    (Method::POST, MEMBERS),
    (Method::GET, MEMBERS),
    (
        Method::DELETE,
        "/channels/0193a5c0-0000-7000-8000-000000000001/members/0193a5c0-0000-7000-8000-000000000001",
    ),
    (Method::POST, "/channels/0193a5c0-0000-7000-8000-000000000001/join"),
    (Method::POST, "/messages"),
    (Method::GET, MESSAGE),
    (Method::PUT, MESSAGE),
    (Method::DELETE, MESSAGE),
    (Method::GET, "/messages/0193a5c0-0000-7000-8000-000000000001/thread"),
    (Method::PUT, "/messages/0193a5c0-0000-7000-8000-000000000001/reactions/+1"),
    (Method::DELETE, "/messages/0193a5c0-0000-7000-8000-000000000001/reactions/+1"),
    (Method::GET, "/messages/channels/0193a5c0-0000-7000-8000-000000000001"),
    (Method::GET, "/messages/search?q=a"),
    (Method::POST, READ),
    (Method::GET, READ),
    (Method::POST, "/uploads"),
    (Method::GET, UPLOAD),
    (Method::DELETE, UPLOAD),
    (Method::GET, PREFERENCES),
    (Method::PUT, PREFERENCES),
    (Method::GET, "/notification-preferences/channels"),
    (Method::GET, CHANNEL_PREFERENCES),
    (Method::PUT, CHANNEL_PREFERENCES),
    (Method::DELETE, CHANNEL_PREFERENCES),
];

#[tokio::test]
async fn a_body_that_is_not_json_or_not_of_the_form_is_refused_by_every_endpoint() {
    let ada = person("ada").await;
    for (method, path, example) in endpoints_with_body() {
        let send = |text: String| ada.send_text(method.clone(), path, text);
        for malformed in ["", "{", "{'a': 1}", "{\"a\": 1,}", "nonsense", "{} {}", "\u{0}"] {
            send(malformed.into()).await.expect_problem(400, "malformed_body");
        }
        for other in ["[]", "[\"BUSY\"]", "null", "1", "\"text\""] {
            send(other.into()).await.expect_problem(422, "invalid_body");
        }
        let mut unknown = example.clone();
        unknown["surprise"] = 1.into();
        send(unknown.to_string()).await.expect_problem(422, "invalid_body");
        let first = example.as_object().unwrap().keys().next().unwrap().clone();
        for wrong in [json!(1), json!([]), json!({}), json!(true)] {
            let mut body = example.clone();
            body[&first] = wrong;
            send(body.to_string()).await.expect_problem(422, "invalid_body");
        }
        if !PARTIAL.contains(&path) {
            send("{}".into()).await.expect_problem(422, "invalid_body");
        }
        let twice = format!("{{\"{first}\":\"a\",\"{first}\":\"b\"}}");
        send(twice).await.expect_problem(422, "invalid_body");
    }
}

#[tokio::test]
async fn a_body_of_another_type_or_size_is_refused_by_every_endpoint() {
    let ada = person("ada").await;
    for (method, path, example) in endpoints_with_body() {
        for content_type in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
            let mut request = ada.request(method.clone(), path).body(example.to_string());
            if let Some(content_type) = content_type {
                request = request.header(CONTENT_TYPE, content_type);
            }
            ada.send(request).await.expect_problem(415, "unsupported_media_type");
        }
        let large = format!("{{\"padding\":\"{}\"}}", "x".repeat(163_840));
        ada.send_text(method.clone(), path, large).await.expect_problem(413, "body_too_large");
    }
}

#[tokio::test]
async fn a_field_that_breaks_its_rule_is_refused() {
    let ada = person("ada").await;
    let long = |length: usize| "x".repeat(length);
    let device = |field: &str, value: Value| {
        let mut body =
            json!({"deviceId": "phone", "fcmToken": "t", "platform": "android", "appVersion": "1"});
        body[field] = value;
        (Method::PUT, "/devices/fcm-token", body)
    };
    let sign_up = |email: &str, password: &str| {
        (Method::POST, "/auth/register", json!({"email": email, "password": password}))
    };
    let user = |username: &str| {
        let body = json!({"username": username, "email": "a@example.com", "password": PASSWORD});
        (Method::POST, "/users/register", body)
    };
    let status = |body: Value| (Method::PATCH, "/status", body);
    let profile = |body: Value| (Method::PUT, "/users/me", body);
    for (method, path, body) in [
        sign_up("nonsense", PASSWORD),
        sign_up("", PASSWORD),
        sign_up(&format!("{}@example.com", long(250)), PASSWORD),
        sign_up("a@example.com", "1234567"),
        sign_up("a@example.com", &long(101)),
        user("ab"),
        user(&long(51)),
        user("a b c"),
        user("login"),
        (Method::POST, "/auth/login", json!({"password": PASSWORD})),
        (Method::POST, "/auth/login", json!({"email": "a", "username": "a", "password": PASSWORD})),
        (Method::POST, "/auth/refresh", json!({"refreshToken": ""})),
        (Method::POST, "/linking/sessions/confirm", json!({"linkCode": null})),
        profile(json!({"username": null})),
        profile(json!({"email": null})),
        profile(json!({"username": "ab"})),
        profile(json!({"email": "nonsense"})),
        profile(json!({"displayName": long(101)})),
        profile(json!({"displayName": " "})),
        profile(json!({"displayName": "a\u{0}b"})),
        profile(json!({"phoneNumber": "call me"})),
        profile(json!({"avatarUrl": "javascript:alert(1)"})),
        profile(json!({"avatarColor": "red;"})),
        status(json!({"status": "AWAY"})),
        status(json!({"status": "available"})),
        status(json!({"status": null})),
        status(json!({"status": "BUSY", "durationSeconds": 0})),
        status(json!({"status": "BUSY", "durationSeconds": -1})),
        status(json!({"status": "BUSY", "durationSeconds": 1.5})),
        status(json!({"status": "BUSY", "durationSeconds": "60"})),
        status(json!({"status": "BUSY", "durationSeconds": 604_801})),
        status(json!({"status": "BUSY", "durationSeconds": 1_u64 << 40})),
        device("deviceId", "".into()),
        device("deviceId", long(192).into()),
        device("deviceId", "a\u{0}".into()),
        device("fcmToken", "".into()),
        device("fcmToken", long(513).into()),
        device("platform", "windows".into()),
        device("platform", "Android".into()),
        device("appVersion", long(65).into()),
    ] {
        let answer = ada.send_json(method, path, body.clone()).await;
        assert_eq!(answer.status, 422, "{path} {body}: {}", answer.body);
        let detail = answer.expect_problem(422, "invalid_body").body["detail"].clone();
        assert!(detail.is_string(), "{path} {body} is refused without a word");
    }
}

#[tokio::test]
async fn a_parameter_that_breaks_its_rule_is_refused() {
    let ada = person("ada").await;
    for query in
        ["limit=0", "limit=101", "limit=ten", "after=nonsense", &format!("query={}", "x".repeat(101))]
    {
        ada.get(&format!("/users?{query}")).await.expect_problem(400, "bad_parameter");
    }
}

#[tokio::test]
async fn nothing_of_mine_is_shown_without_my_token() {
    let ada = person("ada").await;
    let anonymous = Api::anonymous(&cluster().await.url());
    let mut callers = vec![anonymous.clone(), anonymous.with_bearer("")];
    for forged in Forged::ALL {
        callers.push(anonymous.with_bearer(forged.token(&ada).await));
    }
    for caller in callers {
        for (method, path) in PROTECTED {
            // The body does not matter: nobody looks at it.
            let answer = caller.send_text(method, path, "{").await.expect_problem(401, "unauthenticated");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    let other_scheme = anonymous.request(Method::GET, "/me").header("authorization", "Basic YTpi");
    anonymous.send(other_scheme).await.expect_problem(401, "unauthenticated");
    assert_eq!(ada.get("/me").await.expect(200)["id"], ada.id.as_str());
}

#[tokio::test]
async fn a_token_of_an_account_that_is_gone_is_refused() {
    let ada = person("ada").await;
    let token = crate::examples::tokens::mint(&ada, std::time::Duration::from_secs(60)).await;
    let id: uuid::Uuid = ada.id.parse().unwrap();
    let pool = crate::shared::database().await;
    sqlx::query("DELETE FROM users WHERE id = $1").bind(id).execute(&pool).await.unwrap();
    let gone = ada.with_bearer(token);
    for path in ["/me", "/users/me"] {
        gone.get(path).await.expect_problem(401, "unauthenticated");
    }
    gone.patch("/status", json!({"status": "BUSY"})).await.expect_problem(401, "unauthenticated");
    gone.post("/linking/sessions", Value::Null).await.expect_problem(401, "unauthenticated");
    let device = json!({"deviceId": "phone", "fcmToken": "gone", "platform": "android"});
    gone.put("/devices/fcm-token", device).await.expect_problem(401, "unauthenticated");
    let file = gone.request(Method::POST, "/uploads").header(CONTENT_TYPE, "text/plain").body("boo");
    gone.send(file).await.expect_problem(401, "unauthenticated");
    gone.post("/channels", json!({"name": "ghosts"})).await.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_method_that_a_resource_does_not_have_is_405() {
    let ada = person("ada").await;
    for (method, path) in [
        (Method::GET, "/auth/register"),
        (Method::GET, "/auth/login"),
        (Method::PUT, "/auth/refresh"),
        (Method::GET, "/auth/logout"),
        (Method::POST, "/auth/sessions"),
        (Method::GET, "/auth/sessions/0193a5c0-0000-7000-8000-000000000001"),
        (Method::PATCH, "/users/me"),
        (Method::POST, "/users"),
        (Method::POST, "/me"),
        (Method::POST, "/partner"),
        (Method::PUT, "/status"),
        (Method::GET, "/linking/sessions"),
        (Method::GET, "/linking/sessions/confirm"),
        (Method::POST, "/devices/fcm-token"),
        (Method::GET, "/devices/fcm-token/phone"),
        (Method::PUT, "/channels"),
        (Method::PATCH, MEMBERS),
        (Method::GET, "/messages"),
        (Method::POST, MESSAGE),
        (Method::POST, "/messages/search"),
        (Method::DELETE, READ),
        (Method::GET, "/uploads"),
        (Method::PUT, UPLOAD),
        (Method::GET, "/channels/0193a5c0-0000-7000-8000-000000000001/join"),
        (Method::POST, "/health"),
        (Method::POST, "/.well-known/jwks.json"),
    ] {
        let answer = ada.send_json(method.clone(), path, Value::Null).await;
        assert_eq!(answer.status, 405, "{method} {path}: {}", answer.body);
        let answer = answer.expect_problem(405, "method_not_allowed");
        assert!(answer.header("allow").is_some_and(|methods| !methods.is_empty()), "{method} {path}");
    }
}
