//! Two doors to an account, two to a session.

use serde_json::{Value, json};

use crate::client::{Api, PASSWORD, Response};
use crate::shape::assert_shape;
use crate::shared::{cluster, fresh, person};

async fn api() -> Api {
    Api::anonymous(&cluster().await.url())
}

fn user(email: &str, username: Option<&str>, full_name: Option<&str>, display_name: Option<&str>) -> Value {
    json!({
        "id": "<uuid>",
        "username": username,
        "email": email,
        "fullName": full_name,
        "displayName": display_name,
        "phoneNumber": null,
        "avatarUrl": null,
        "avatarColor": null,
        "createdAt": "<iso>",
        "updatedAt": "<iso>",
    })
}

fn tokens(user: &Value) -> Value {
    json!({
        "accessToken": "<jwt>",
        "refreshToken": "<text>",
        "tokenType": "bearer",
        "expiresIn": 900,
        "user": user,
    })
}

/// The cookie of a development cluster; in production it is `Secure` as well.
#[track_caller]
fn assert_cookie(answer: &Response) {
    let token = answer.body["accessToken"].as_str().unwrap();
    let cookie = format!("jwt_token={token}; HttpOnly; Path=/; SameSite=Lax; Max-Age=900");
    assert_eq!(answer.header("set-cookie"), Some(cookie.as_str()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn auth_register_makes_an_account_and_signs_in() {
    let (api, email) = (api().await, format!("{}@example.com", fresh("ada")));
    let body =
        json!({"email": format!("  {}\t", email.to_uppercase()), "password": PASSWORD, "displayName": "Ada"});

    let answer = api.post("/auth/register", body).await;

    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_shape(&answer.body, &tokens(&user(&email, None, None, Some("Ada"))));
    assert_cookie(&answer);
    let me = api.with_bearer(answer.body["accessToken"].as_str().unwrap()).get("/users/me").await.expect(200);
    assert_eq!(me, answer.body["user"]);

    let again = json!({"email": email, "password": PASSWORD});
    api.post("/auth/register", again).await.expect_problem(409, "email_taken");
}

#[tokio::test]
async fn auth_register_needs_no_display_name() {
    let (api, email) = (api().await, format!("{}@example.com", fresh("ada")));
    let answer = api.post("/auth/register", json!({"email": email, "password": PASSWORD})).await.expect(201);
    assert_shape(&answer, &tokens(&user(&email, None, None, None)));
}

#[tokio::test]
async fn users_register_is_the_other_door_to_the_same_account() {
    let (api, name) = (api().await, fresh("ben"));
    let email = format!("{name}@example.com");
    let body = json!({"username": name, "email": email, "password": PASSWORD, "full_name": "Ben Ek"});

    let answer = api.post("/users/register", body.clone()).await;

    assert_eq!(answer.header("set-cookie"), None);
    assert_shape(&answer.expect(201), &user(&email, Some(&name), Some("Ben Ek"), None));
    let taken = |field: &str, value: &str| {
        let mut body = body.clone();
        body[field] = value.into();
        body
    };
    let other_email = taken("email", &format!("other-{email}"));
    api.post("/users/register", other_email).await.expect_problem(409, "username_taken");
    let other_name = taken("username", &fresh("ben"));
    api.post("/users/register", other_name).await.expect_problem(409, "email_taken");

    let camel = fresh("ben");
    let body = json!({
        "username": camel, "email": format!("{camel}@example.com"), "password": PASSWORD, "fullName": "Ben Ek",
    });
    assert_eq!(api.post("/users/register", body).await.expect(201)["fullName"], "Ben Ek");
}

#[tokio::test]
async fn both_logins_take_email_and_username() {
    let (api, name) = (api().await, fresh("cleo"));
    let email = format!("{name}@example.com");
    let account = json!({"username": name, "email": email, "password": PASSWORD});
    api.post("/users/register", account).await.expect(201);

    for path in ["/auth/login", "/users/login"] {
        for (field, value) in [
            ("email", email.as_str()),
            ("username", name.as_str()),
            ("username", email.as_str()),
            ("email", &email.to_uppercase()),
        ] {
            let answer = api.post(path, json!({field: value, "password": PASSWORD})).await;
            assert_eq!(answer.status, 200, "{path} {field}={value}: {}", answer.body);
            assert_shape(&answer.body, &tokens(&user(&email, Some(&name), None, None)));
            assert_cookie(&answer);
        }
    }
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_are_answered_alike() {
    let known = person("dora").await;
    let api = api().await;
    for path in ["/auth/login", "/users/login"] {
        let wrong = api.post(path, json!({"email": known.email, "password": "wrong-password"})).await;
        let unknown = api.post(path, json!({"email": "nobody@example.com", "password": PASSWORD})).await;
        let wrong = wrong.expect_problem(401, "bad_credentials");
        let unknown = unknown.expect_problem(401, "bad_credentials");
        assert_eq!(wrong.body, unknown.body);
        assert_eq!(wrong.header("www-authenticate"), unknown.header("www-authenticate"));
        assert_eq!((wrong.header("set-cookie"), unknown.header("set-cookie")), (None, None));
    }
}

#[tokio::test]
async fn logins_are_throttled_by_account_on_all_nodes_together() {
    let (victim, other) = tokio::join!(person("ella"), person("ella"));
    let nodes: Vec<Api> = cluster().await.nodes.iter().map(|node| Api::anonymous(&node.http())).collect();
    let wrong = json!({"email": victim.email, "password": "wrong-password"});
    for attempt in 0..5 {
        nodes[attempt % 3].post("/auth/login", wrong.clone()).await.expect_problem(401, "bad_credentials");
    }

    for node in &nodes {
        let right = json!({"email": victim.email, "password": PASSWORD});
        let answer = node.post("/auth/login", right).await.expect_problem(429, "rate_limited");
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=900).contains(&seconds), "{seconds}");
    }
    other.log_in_again().await;
}
