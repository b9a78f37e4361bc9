//! What holds for every path: the prefix, the slash, the cookie, the origin, the error format.

use http::Method;
use serde_json::{Value, json};

use crate::client::{Api, Credentials};
use crate::shape::assert_shape;
use crate::shared::{cluster, couple, fresh, person};

#[tokio::test]
async fn every_path_has_a_prefix_and_a_slash_that_make_no_difference() {
    let (ada, _) = couple().await;
    let name = fresh("ada");
    ada.put("/users/me", json!({"username": name})).await.expect(200);
    let by_name = format!("/users/{name}");
    // Not `/users`: others register meanwhile.
    for path in ["/me", "/partner", "/users/me", &by_name, "/auth/sessions", "/devices/fcm-token"] {
        let answer = ada.get(path).await.expect(200);
        for same in [format!("/api/v1{path}"), format!("{path}/"), format!("/api/v1{path}/")] {
            assert_eq!(ada.get(&same).await.expect(200), answer, "{same}");
        }
    }
    let api = Api::anonymous(&ada.base_url);
    for path in ["/health", "/.well-known/jwks.json"] {
        api.get(&format!("/api/v1{path}")).await.expect(200);
    }
    ada.patch("/api/v1/status/", json!({"status": "BUSY"})).await.expect(200);
    ada.get("/api/v2/me").await.expect_problem(404, "not_found");
    ada.get("/api/v1/api/v1/me").await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn the_cookie_is_as_good_as_the_header_but_not_from_a_foreign_page() {
    let ada = person("ada").await;
    let browser = ada.with(Credentials::Cookie(ada.access_token.clone()));
    assert_eq!(browser.get("/me").await.expect(200)["id"], ada.id.as_str());
    browser.patch("/status", json!({"status": "BUSY"})).await.expect(200);

    let change = |origin: &str| {
        let request = browser.request(Method::PATCH, "/status").header("origin", origin);
        browser.send(request.json(&json!({"status": "BUSY"})))
    };
    change("https://evil.example").await.expect_problem(403, "foreign_origin");
    change("null").await.expect_problem(403, "foreign_origin");
    change(&ada.base_url).await.expect(200);
    // A page cannot read the header's token, so its origin does not matter.
    let bearer = ada.request(Method::PATCH, "/status").header("origin", "https://evil.example");
    ada.send(bearer.json(&json!({"status": "BUSY"}))).await.expect(200);
    let forged = ada.with(Credentials::Cookie("forged".into()));
    forged.get("/me").await.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn an_error_is_a_problem_that_programs_can_read() {
    let api = Api::anonymous(&cluster().await.url());
    let answer = api.get("/no/such/path").await;
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let body = json!({
        "type": "urn:fanlight:error:not_found", "title": "There is no such resource", "status": 404,
        "error": "not_found",
    });
    assert_eq!(answer.expect(404), body);
    let detailed =
        api.send_text(Method::POST, "/auth/login", "{").await.expect_problem(400, "malformed_body");
    assert_shape(
        &detailed.body,
        &json!({
            "type": "urn:fanlight:error:malformed_body", "title": "The body is not valid JSON", "status": 400,
            "error": "malformed_body", "detail": "<text>",
        }),
    );
    let unauthenticated = api.get("/me").await.expect_problem(401, "unauthenticated");
    assert_eq!(unauthenticated.header("www-authenticate"), Some("Bearer"));
    for answer in [detailed, unauthenticated] {
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    assert_eq!(api.post("/auth/logout", Value::Null).await.status, 401);
}
