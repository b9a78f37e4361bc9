//! Accounts through HTTP, on real Postgres.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use chrono::DateTime;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Announce, Config, Service, SessionRevoked, Settings, revocation};
use crate::db::PgPool;
use crate::dev::testing;
use crate::domain::clock::{Clock as _, ManualClock};
use crate::domain::tokens::{KeyAlgorithm, KeyRing, generate_private_key};
use crate::edge::auth::{AllowedOrigins, Authenticator};
use crate::edge::http::PeerAddress;
use crate::ports::throttle::{MemoryThrottle, Throttle};

mod login;
mod profile;
mod registration;
mod revocations;
mod sessions;
mod throttling;
mod tokens;

const PASSWORD: &str = "correct horse battery";

/// One node: the routes, and what stands behind them.
struct Node {
    router: Router,
    pool: PgPool,
    clock: Arc<ManualClock>,
    authenticator: Arc<Authenticator>,
    announced: Arc<Mutex<Vec<SessionRevoked>>>,
    config: Config,
}

/// What a node is made of, where a test wants something else than the default.
struct Parts {
    pool: PgPool,
    clock: Arc<ManualClock>,
    config: Config,
    throttle: Arc<dyn Throttle>,
    keys: Arc<KeyRing>,
    secure_cookies: bool,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

/// A person who has logged in.
struct Person {
    id: String,
    access: String,
    refresh: String,
}

impl Parts {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
        let throttle = Arc::new(MemoryThrottle::new(clock.clone(), 10_000));
        let key = generate_private_key(KeyAlgorithm::ES256);
        Self {
            pool: testing::database().await,
            clock,
            config: quick_config(),
            throttle,
            keys: Arc::new(key_ring([("main".to_owned(), KeyAlgorithm::ES256, key)])),
            secure_cookies: true,
        }
    }

    fn start(self) -> Node {
        let Self { pool, clock, config, throttle, keys, secure_cookies } = self;
        let authenticator =
            Arc::new(Authenticator::new(keys.clone(), clock.clone(), AllowedOrigins::default()));
        let announced = Arc::new(Mutex::new(Vec::new()));
        let announce: Announce = {
            let (authenticator, clock, announced) = (authenticator.clone(), clock.clone(), announced.clone());
            let access_ttl = config.access_ttl();
            Arc::new(move |revoked: SessionRevoked| {
                let forget_at = revocation::forget_at(clock.now(), access_ttl);
                authenticator.revoked().insert(revoked.session, forget_at);
                announced.lock().push(revoked);
            })
        };
        let settings = Settings {
            pool: pool.clone(),
            clock: clock.clone(),
            keys,
            throttle,
            announce,
            secure_cookies,
            config: config.clone(),
        };
        let (router, _) = super::routes(Arc::new(Service::new(settings).unwrap())).split_for_parts();
        Node { router, pool, clock, authenticator, announced, config }
    }
}

/// The defaults, with hashes that take no time.
fn quick_config() -> Config {
    let mut settings: toml::Table = toml::from_str(crate::config::DEFAULT_TOML).unwrap();
    let mut config: Config = settings.remove("accounts").unwrap().try_into().unwrap();
    config.check().unwrap();
    (config.hashing_memory_kib, config.hashing_passes) = (8, 1);
    config.registrations_per_address_max = 1_000;
    config
}

fn key_ring(keys: impl IntoIterator<Item = (String, KeyAlgorithm, String)>) -> KeyRing {
    KeyRing::new(keys, "fanlight".to_owned(), "fanlight".to_owned()).unwrap()
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

impl Node {
    async fn start() -> Self {
        Parts::new().await.start()
    }

    async fn send(&self, mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(self.authenticator.clone());
        if request.extensions().get::<PeerAddress>().is_none() {
            request.extensions_mut().insert(PeerAddress(address(1)));
        }
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(json_request(Method::POST, path, &body)).await
    }

    async fn post_from(&self, from: IpAddr, path: &str, body: Value) -> Answer {
        let mut request = json_request(Method::POST, path, &body);
        request.extensions_mut().insert(PeerAddress(from));
        self.send(request).await
    }

    /// A request without a body, as the holder of `token`.
    async fn call(&self, method: Method, path: &str, token: &str) -> Answer {
        self.send(bearer(Request::builder().method(method).uri(path).body(Body::empty()).unwrap(), token))
            .await
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.call(Method::GET, path, token).await
    }

    async fn put(&self, path: &str, token: &str, body: Value) -> Answer {
        self.send(bearer(json_request(Method::PUT, path, &body), token)).await
    }

    /// Makes an account with a username, and logs in to it.
    async fn join(&self, username: &str) -> Person {
        let email = format!("{username}@example.com");
        let body = json!({"username": username, "email": email, "password": PASSWORD});
        self.post("/users/register", body).await.expect(StatusCode::CREATED);
        self.log_in(username).await
    }

    async fn log_in(&self, account: &str) -> Person {
        let body = json!({"username": account, "password": PASSWORD});
        Person::from(self.post("/auth/login", body).await.expect(StatusCode::OK))
    }
}

impl Answer {
    #[track_caller]
    fn expect(self, status: StatusCode) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// Expects a problem with this status and code.
    #[track_caller]
    fn refused(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), self.body["error"].as_str()),
            (status, Some(code)),
            "{}",
            self.body
        );
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json");
        assert_eq!(self.body["status"], status);
    }

    fn retry_after(&self) -> u64 {
        self.headers["retry-after"].to_str().unwrap().parse().unwrap()
    }

    fn cookie(&self) -> &str {
        self.headers[SET_COOKIE].to_str().unwrap()
    }
}

impl From<Value> for Person {
    fn from(body: Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            id: text(&body["user"]["id"]),
            access: text(&body["accessToken"]),
            refresh: text(&body["refreshToken"]),
        }
    }
}

fn json_request(method: Method, path: &str, body: &Value) -> Request<Body> {
    raw_request(method, path, body.to_string())
}

fn raw_request(method: Method, path: &str, body: String) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .unwrap()
}

fn bearer(mut request: Request<Body>, token: &str) -> Request<Body> {
    if let Ok(value) = format!("Bearer {token}").parse() {
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    request
}

fn with_cookie(mut request: Request<Body>, token: &str) -> Request<Body> {
    request.headers_mut().insert(COOKIE, format!("theme=dark; jwt_token={token}").parse().unwrap());
    request
}
