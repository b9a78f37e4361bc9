//! Sessions: refreshed, listed, ended; and the keys and the health that everybody may ask for.

use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::client::{Api, Client};
use crate::shape::assert_shape;
use crate::shared::{cluster, person, socket_at};

const REVOKED: (u16, &str) = (4003, "Session revoked");
/// However it is told: at once by the broker, or by the poll of each second.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

async fn assert_refused_everywhere(client: &Client) {
    for node in &cluster().await.nodes {
        client.at(&node.http()).get("/me").await.expect_problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn logout_ends_the_session_on_every_node_within_seconds() {
    let phone = person("ada").await;
    let tablet = phone.log_in_again().await;
    let mut sockets = Vec::new();
    for node in 0..3 {
        sockets.push(socket_at(&phone, node).await);
    }
    let mut kept = socket_at(&tablet, 0).await;

    let started = Instant::now();
    let answer = phone.post("/auth/logout", Value::Null).await;
    for mut socket in sockets {
        let (code, reason) = timeout(REVOKED_WITHIN, socket.expect_close()).await.unwrap();
        assert_eq!((code, reason.as_str()), REVOKED);
    }
    assert!(started.elapsed() < REVOKED_WITHIN, "{:?}", started.elapsed());

    assert_eq!((answer.status, answer.body.clone()), (204, Value::Null));
    let cleared = "jwt_token=; HttpOnly; Path=/; SameSite=Lax; Max-Age=0";
    assert_eq!(answer.header("set-cookie"), Some(cleared));
    assert_refused_everywhere(&phone).await;
    let refresh = json!({"refreshToken": phone.refresh_token});
    phone.post("/auth/refresh", refresh).await.expect_problem(401, "bad_refresh_token");
    kept.expect_nothing_more().await;
    tablet.get("/me").await.expect(200);
}

#[tokio::test]
async fn a_refresh_token_is_good_for_one_use_and_its_reuse_ends_the_session() {
    let ada = person("ada").await;
    let refresh = |token: &str| {
        let (ada, body) = (ada.clone(), json!({"refreshToken": token}));
        async move { ada.post("/auth/refresh", body).await }
    };
    let first = refresh(&ada.refresh_token).await.expect(200);
    assert_shape(
        &first,
        &json!({
            "accessToken": "<jwt>", "refreshToken": "<text>", "tokenType": "bearer", "expiresIn": 900,
            "user": ada.get("/users/me").await.expect(200),
        }),
    );
    assert_ne!(first["refreshToken"], ada.refresh_token);
    assert_ne!(first["accessToken"], ada.access_token);
    let snake = json!({"refresh_token": first["refreshToken"]});
    ada.post("/auth/refresh", snake).await.expect_problem(422, "invalid_body");
    let second = refresh(first["refreshToken"].as_str().unwrap()).await.expect(200);

    let mut socket = socket_at(&ada, 2).await;
    refresh(&ada.refresh_token).await.expect_problem(401, "bad_refresh_token");

    assert_eq!(socket.expect_close().await, (REVOKED.0, REVOKED.1.to_owned()));
    refresh(second["refreshToken"].as_str().unwrap()).await.expect_problem(401, "bad_refresh_token");
    refresh("made-up").await.expect_problem(401, "bad_refresh_token");
}

#[tokio::test]
async fn my_sessions_are_listed_and_one_is_ended() {
    let (phone, stranger) = tokio::join!(person("ada"), person("eve"));
    let tablet = phone.log_in_again().await;
    let session = |current: bool| {
        json!({
            "id": "<uuid>", "userAgent": "", "address": "127.0.0.1", "createdAt": "<iso>",
            "lastUsedAt": "<iso>", "expiresAt": "<text>", "current": current,
        })
    };
    let listed = phone.get("/auth/sessions").await.expect(200);
    assert_shape(&listed, &json!([session(false), session(true)]));
    let of_tablet = format!("/auth/sessions/{}", listed[0]["id"].as_str().unwrap());
    // On every node: its end there tells that the node knows.
    let sockets = [socket_at(&tablet, 0).await, socket_at(&tablet, 1).await, socket_at(&tablet, 2).await];

    stranger.delete(&of_tablet).await.expect_problem(404, "not_found");
    assert_eq!(phone.delete(&of_tablet).await.expect(204), Value::Null);

    for mut socket in sockets {
        assert_eq!(socket.expect_close().await, (REVOKED.0, REVOKED.1.to_owned()));
    }
    assert_refused_everywhere(&tablet).await;
    phone.delete(&of_tablet).await.expect_problem(404, "not_found");
    for unknown in ["0193a5c0-0000-7000-8000-000000000001", "1", "%00"] {
        phone.delete(&format!("/auth/sessions/{unknown}")).await.expect_problem(404, "not_found");
    }
    assert_shape(&phone.get("/auth/sessions").await.expect(200), &json!([session(true)]));
}

#[tokio::test]
async fn anybody_can_verify_a_token_with_the_published_keys() {
    let ada = person("ada").await;
    let api = Api::anonymous(&cluster().await.url());
    let keys = api.get("/.well-known/jwks.json").await.expect(200);
    assert_shape(
        &keys,
        &json!({"keys": [{
            "kty": "EC", "use": "sig", "crv": "P-256", "kid": "dev", "x": "<text>", "y": "<text>", "alg": "ES256",
        }]}),
    );

    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let (signed, signature) = ada.access_token.rsplit_once('.').unwrap();
    let key = &keys["keys"][0];
    let mut point = vec![4];
    point.extend(decode(key["x"].as_str().unwrap()));
    point.extend(decode(key["y"].as_str().unwrap()));
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    key.verify(signed.as_bytes(), &decode(signature)).unwrap();

    let (header, claims) = signed.split_once('.').unwrap();
    let json = |part: &str| serde_json::from_slice::<Value>(&decode(part)).unwrap();
    assert_eq!(json(header), json!({"typ": "at+jwt", "alg": "ES256", "kid": "dev"}));
    let claims = json(claims);
    assert_shape(
        &claims,
        &json!({
            "iss": "fanlight", "aud": "fanlight", "sub": ada.id, "sid": "<uuid>", "jti": "<uuid>",
            "iat": "<int>", "exp": "<int>",
        }),
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 900);
}

#[tokio::test]
async fn health_is_public() {
    let health = Api::anonymous(&cluster().await.url()).get("/health").await.expect(200);
    assert_shape(
        &health,
        &json!({"status": "ok", "database": true, "broker": true, "connections": "<int>", "version": "<text>"}),
    );
}
