//! Sessions: refreshed, listed, ended.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use http::header::{ORIGIN, SET_COOKIE};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Node, PASSWORD, Parts, Person, address, json_request, with_cookie};
use crate::domain::clock::Clock as _;

const DAY: Duration = Duration::from_hours(24);

impl Node {
    async fn refresh(&self, token: &str) -> super::Answer {
        self.post("/auth/refresh", json!({"refreshToken": token})).await
    }

    /// Registers a device of the person's session, as the devices feature does.
    async fn register_device(&self, person: &Person, session: &str) {
        sqlx::query!(
            "INSERT INTO device_tokens
                 (id, user_id, session_id, device_id, fcm_token, platform, created_at, updated_at, last_registered_at)
             VALUES (gen_random_uuid(), $1::text::uuid, $2::text::uuid, $2, $2, 'android', $3, $3, $3)",
            person.id,
            session,
            self.clock.now(),
        )
        .execute(&self.pool)
        .await
        .unwrap();
    }

    async fn active_devices(&self) -> i64 {
        sqlx::query_scalar!(r#"SELECT count(*) AS "n!" FROM device_tokens WHERE deactivated_at IS NULL"#)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    async fn session_of(&self, person: &Person) -> String {
        let sessions = self.get("/auth/sessions", &person.access).await.expect(StatusCode::OK);
        let current = sessions.as_array().unwrap().iter().find(|session| session["current"] == true);
        current.unwrap()["id"].as_str().unwrap().to_owned()
    }

    fn announced(&self) -> Vec<String> {
        self.announced.lock().iter().map(|revoked| revoked.session.to_string()).collect()
    }
}

#[tokio::test]
async fn a_refresh_token_is_good_for_one_new_pair() {
    let node = Node::start().await;
    let ann = node.join("ann").await;
    node.clock.advance(Duration::from_mins(14));
    let answer = node.refresh(&ann.refresh).await;
    assert!(answer.cookie().contains("Max-Age=900"));
    let next = Person::from(answer.expect(StatusCode::OK));
    assert!(next.refresh != ann.refresh && next.access != ann.access && next.id == ann.id);
    assert_eq!(node.session_of(&next).await, node.session_of(&ann).await);

    node.clock.advance(Duration::from_mins(2));
    node.get("/users/me", &ann.access).await.refused(401, "unauthenticated");
    node.get("/users/me", &next.access).await.expect(StatusCode::OK);
    let third = Person::from(node.refresh(&next.refresh).await.expect(StatusCode::OK));
    node.get("/users/me", &third.access).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_used_refresh_token_that_comes_back_ends_the_session_with_all_its_tokens() {
    let node = Node::start().await;
    let ann = node.join("ann").await;
    let other = node.log_in("ann").await;
    let session = node.session_of(&ann).await;
    node.register_device(&ann, &session).await;
    let next = Person::from(node.refresh(&ann.refresh).await.expect(StatusCode::OK));

    node.refresh(&ann.refresh).await.refused(401, "bad_refresh_token");
    assert_eq!(node.announced(), [session]);
    node.refresh(&next.refresh).await.refused(401, "bad_refresh_token");
    for token in [&ann.access, &next.access] {
        node.get("/users/me", token).await.refused(401, "unauthenticated");
    }
    assert_eq!(node.active_devices().await, 0);
    let reason = sqlx::query_scalar!("SELECT revoked_reason FROM sessions WHERE revoked_at IS NOT NULL")
        .fetch_one(&node.pool)
        .await
        .unwrap();
    assert_eq!(reason.as_deref(), Some("refresh_reuse"));

    // Again changes nothing, and the other login is not touched.
    node.refresh(&ann.refresh).await.refused(401, "bad_refresh_token");
    assert_eq!(node.announced().len(), 1);
    node.refresh(&other.refresh).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn of_parallel_refreshes_of_one_token_at_most_one_wins() {
    let node = Node::start().await;
    let ann = node.join("ann").await;
    let answers = join_all((0..20).map(|_| node.refresh(&ann.refresh))).await;
    let won = answers.iter().filter(|answer| answer.status == StatusCode::OK).count();
    assert_eq!(won, 1);
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::OK) {
        answer.refused(401, "bad_refresh_token");
    }
    let tokens = sqlx::query_scalar!(r#"SELECT count(*) AS "n!" FROM refresh_tokens"#)
        .fetch_one(&node.pool)
        .await
        .unwrap();
    assert_eq!((tokens, node.announced().len()), (2, 1), "one of the login, one of the refresh");
}

#[tokio::test]
async fn a_session_ends_after_its_life_however_often_it_was_refreshed() {
    let node = Node::start().await;
    let mut ann = node.join("ann").await;
    for _ in 0..2 {
        node.clock.advance(DAY * 14);
        ann = Person::from(node.refresh(&ann.refresh).await.expect(StatusCode::OK));
    }
    node.clock.advance(Duration::from_mins(2 * 24 * 60 - 5));
    let last = node.refresh(&ann.refresh).await.expect(StatusCode::OK);
    assert_eq!(last["expiresIn"], 300, "no access token outlives its session");
    node.clock.advance(Duration::from_mins(5));
    let last = Person::from(last);
    node.get("/users/me", &last.access).await.refused(401, "unauthenticated");
    node.refresh(&last.refresh).await.refused(401, "bad_refresh_token");
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused() {
    let node = Node::start().await;
    let ann = node.join("ann").await;
    let mut changed = ann.refresh.clone();
    changed.replace_range(..1, if changed.starts_with('A') { "B" } else { "A" });
    for token in [ann.access.as_str(), &changed, "x", "' OR 1=1 --", "\u{0}", &ann.refresh[..42]] {
        if token.len() <= 256 {
            node.refresh(token).await.refused(401, "bad_refresh_token");
        } else {
            node.refresh(token).await.refused(422, "invalid_body");
        }
    }
    for body in
        [json!({}), json!({"refreshToken": null}), json!({"refreshToken": ""}), json!({"refreshToken": 1})]
    {
        node.post("/auth/refresh", body).await.refused(422, "invalid_body");
    }
    // A refresh token is no access token.
    node.get("/users/me", &ann.refresh).await.refused(401, "unauthenticated");
    node.refresh(&ann.refresh).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_logout_ends_the_session_clears_the_cookie_and_retires_its_devices() {
    let node = Node::start().await;
    let ann = node.join("ann").await;
    let other = node.log_in("ann").await;
    let (session, kept) = (node.session_of(&ann).await, node.session_of(&other).await);
    node.register_device(&ann, &session).await;
    node.register_device(&other, &kept).await;

    let answer = node.call(Method::POST, "/auth/logout", &ann.access).await;
    assert_eq!((answer.status, &answer.body), (StatusCode::NO_CONTENT, &Value::Null));
    assert_eq!(answer.headers[SET_COOKIE], "jwt_token=; HttpOnly; Path=/; SameSite=Lax; Max-Age=0; Secure");
    assert_eq!(node.announced(), [session]);
    node.get("/users/me", &ann.access).await.refused(401, "unauthenticated");
    node.refresh(&ann.refresh).await.refused(401, "bad_refresh_token");
    node.call(Method::POST, "/auth/logout", &ann.access).await.refused(401, "unauthenticated");
    assert_eq!(node.active_devices().await, 1);
    node.get("/users/me", &other.access).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn my_sessions_are_listed_and_ended_one_by_one() {
    let node = Node::start().await;
    node.join("ann").await;
    let mut request =
        json_request(Method::POST, "/auth/login", &json!({"username": "ann", "password": PASSWORD}));
    request.headers_mut().insert("user-agent", "Phone/1.0".parse().unwrap());
    request.extensions_mut().insert(crate::edge::http::PeerAddress(address(7)));
    node.clock.advance(Duration::from_mins(1));
    let phone = Person::from(node.send(request).await.expect(StatusCode::OK));
    let ann = node.log_in("ann").await;

    let list = node.get("/auth/sessions", &ann.access).await.expect(StatusCode::OK);
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 3);
    assert_eq!(list.iter().filter(|session| session["current"] == true).count(), 1);
    let listed = list.iter().find(|session| session["userAgent"] == "Phone/1.0").unwrap();
    assert_eq!((&listed["address"], &listed["current"]), (&json!("192.0.2.7"), &json!(false)));
    let time = |field: &str| listed[field].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert_eq!(time("createdAt"), node.clock.now());
    assert_eq!(time("expiresAt") - time("lastUsedAt"), chrono::TimeDelta::days(30));

    let path = format!("/auth/sessions/{}", listed["id"].as_str().unwrap());
    let answer = node.call(Method::DELETE, &path, &ann.access).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    node.get("/users/me", &phone.access).await.refused(401, "unauthenticated");
    node.call(Method::DELETE, &path, &ann.access).await.refused(404, "not_found");
    let list = node.get("/auth/sessions", &ann.access).await.expect(StatusCode::OK);
    assert_eq!(list.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn nobody_ends_a_session_of_somebody_else() {
    let node = Node::start().await;
    let (ann, eve) = (node.join("ann").await, node.join("eve").await);
    let foreign = node.session_of(&ann).await;
    let unknown = uuid::Uuid::now_v7().to_string();
    for id in [foreign.as_str(), &unknown, &ann.id, "1", "x%00", "..%2f..", "%F0%9F%94%91"] {
        let path = format!("/auth/sessions/{id}");
        node.call(Method::DELETE, &path, &eve.access).await.refused(404, "not_found");
    }
    node.get("/users/me", &ann.access).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn every_route_about_oneself_needs_a_token() {
    let node = Node::start().await;
    let ann = node.join("ann").await;
    let session = format!("/auth/sessions/{}", node.session_of(&ann).await);
    for (method, path) in [
        (Method::POST, "/auth/logout"),
        (Method::GET, "/auth/sessions"),
        (Method::DELETE, session.as_str()),
        (Method::GET, "/users/me"),
        (Method::PUT, "/users/me"),
        (Method::GET, "/users/ann"),
        (Method::GET, "/users"),
    ] {
        let answer = node.send(json_request(method.clone(), path, &json!({}))).await;
        answer.refused(401, "unauthenticated");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        node.send(with_cookie(json_request(method, path, &json!({})), "x.y.z"))
            .await
            .refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_cookie_is_as_good_as_a_bearer_token_except_from_a_foreign_page() {
    let node = Node::start().await;
    let ann = node.join("ann").await;
    let request = |origin: Option<&str>| {
        let mut request = json_request(Method::POST, "/auth/logout", &json!({}));
        request.headers_mut().insert("host", "app.example".parse().unwrap());
        if let Some(origin) = origin {
            request.headers_mut().insert(ORIGIN, origin.parse().unwrap());
        }
        with_cookie(request, &ann.access)
    };
    for origin in ["https://evil.example", "https://app.example.evil", "null", "https://app.example:444"] {
        node.send(request(Some(origin))).await.refused(403, "foreign_origin");
    }
    let me = with_cookie(json_request(Method::GET, "/users/me", &json!({})), &ann.access);
    assert_eq!(node.send(me).await.expect(StatusCode::OK)["id"], ann.id);
    assert_eq!(node.send(request(Some("https://app.example"))).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn one_login_too_many_ends_the_one_that_was_used_longest_ago() {
    let mut parts = Parts::new().await;
    parts.config.sessions_per_user_max = 3;
    let node = parts.start();
    let first = node.join("ann").await;
    let mut second = node.log_in("ann").await;
    let third = node.log_in("ann").await;
    node.clock.advance(Duration::from_secs(1));
    // The first was used again since; now it is the second's turn.
    let first = Person::from(node.refresh(&first.refresh).await.expect(StatusCode::OK));
    let session = node.session_of(&second).await;
    node.log_in("ann").await;
    assert_eq!(node.announced(), [session]);
    for person in [&first, &third] {
        node.get("/users/me", &person.access).await.expect(StatusCode::OK);
    }
    node.get("/users/me", &second.access).await.refused(401, "unauthenticated");
    second = node.log_in("ann").await;
    node.get("/users/me", &second.access).await.expect(StatusCode::OK);
}
