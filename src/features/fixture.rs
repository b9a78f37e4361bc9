//! A world for the tests of features: real Postgres, a clock that stands, requests without a socket.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::{Extension, Router};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use utoipa_axum::router::OpenApiRouter;

use crate::config::DEFAULT_TOML;
use crate::db::PgPool;
use crate::delivery::dispatcher::Dispatcher;
use crate::dev::testing;
use crate::domain::clock::{Clock as _, ManualClock, SharedClock, SystemClock};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::tokens::{KeyAlgorithm, KeyRing};
use crate::edge::auth::{AllowedOrigins, Authenticator};
use crate::edge::http::PeerAddress;
use crate::features::channels::tests::Followed;
use crate::features::messages::tests::Heard;
use crate::features::{channels, devices, linking, messages, notifications, status, uploads};
use crate::ports::blobs::Blobs;
use crate::ports::throttle::{Limit, Throttle, ThrottleError, Verdict};
use crate::shutdown::Shutdown;

pub struct World {
    pub pool: PgPool,
    pub clock: Arc<ManualClock>,
    pub config: Sections,
    pub linking: Arc<linking::Service>,
    pub status: Arc<status::Service>,
    pub devices: Arc<devices::Service>,
    pub messages: Arc<messages::Service>,
    /// What those who follow channels live were told.
    pub followed: Followed,
    /// What those who follow channels live were told of messages.
    pub heard: Heard,
    pub uploads: Arc<uploads::Service>,
    keys: Arc<KeyRing>,
    router: Router,
}

/// The settings of these features, by default.
#[derive(Deserialize)]
pub struct Sections {
    pub linking: linking::Config,
    pub status: status::Config,
    pub devices: devices::Config,
    pub channels: channels::Config,
    pub messages: messages::Config,
    pub uploads: uploads::Config,
    pub notifications: notifications::Config,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// The stable code of a problem, which must be one in form and content type.
    pub fn error(&self) -> &str {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        assert_eq!(self.body["status"], self.status.as_u16());
        self.body["error"].as_str().unwrap()
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// With other settings than the defaults.
    pub async fn with(change: impl FnOnce(&mut Sections)) -> Self {
        Self::with_store(Some(Blobs::in_memory()), change).await
    }

    /// With another store of files than memory.
    pub async fn with_store(blobs: Option<Blobs>, change: impl FnOnce(&mut Sections)) -> Self {
        let pool = testing::database().await;
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let shared: SharedClock = clock.clone();
        let mut config = toml::from_str::<Sections>(DEFAULT_TOML).unwrap();
        change(&mut config);

        let throttle = Arc::new(CountingThrottle::default());
        let linking = linking::Service::new(
            pool.clone(),
            shared.clone(),
            Dispatcher::idle(),
            throttle.clone(),
            config.linking.clone(),
        );
        let status =
            status::Service::new(pool.clone(), shared.clone(), Dispatcher::idle(), config.status.clone());
        let devices = devices::Service::new(pool.clone(), shared.clone(), config.devices.clone());
        let followed = Followed::default();
        let channels = channels::Service::new(channels::Settings {
            pool: pool.clone(),
            clock: shared.clone(),
            dispatcher: Dispatcher::idle(),
            throttle: throttle.clone(),
            followers: Box::new(followed.clone()),
            config: config.channels.clone(),
        });
        let heard = Heard::default();
        let messages = messages(&pool, &shared, &heard, &throttle, &config);
        let notifications = notifications::Service::new(
            pool.clone(),
            Arc::clone(&shared),
            throttle.clone(),
            config.notifications.clone(),
        );
        let uploads = uploads::Service::new(uploads::Settings {
            pool: pool.clone(),
            clock: shared.clone(),
            throttle,
            blobs,
            working: Shutdown::new(),
            config: config.uploads.clone(),
        });
        let answers = OpenApiRouter::new()
            .merge(linking::routes(linking.clone()))
            .merge(status::routes(status.clone()))
            .merge(devices::routes(devices.clone()))
            .merge(channels::routes(channels))
            .merge(messages::routes(messages.clone()))
            .merge(uploads::routes(uploads.clone()))
            .merge(uploads::receiving_routes(uploads.clone()))
            .merge(notifications::routes(notifications));
        let keys = keys();
        let router = served(answers, &keys, shared);
        Self {
            pool,
            clock,
            config,
            linking,
            status,
            devices,
            messages,
            followed,
            heard,
            uploads,
            keys,
            router,
        }
    }

    pub async fn user(&self, display_name: Option<&str>) -> UserId {
        let user = UserId::generate();
        sqlx::query(
            "INSERT INTO users (id, email, password_hash, display_name, created_at, updated_at)
             VALUES ($1, $2, '', $3, now(), now())",
        )
        .bind(user.0)
        .bind(format!("{user}@example.com"))
        .bind(display_name)
        .execute(&self.pool)
        .await
        .unwrap();
        user
    }

    /// A login of the user.
    pub async fn login(&self, user: UserId) -> SessionId {
        let session = SessionId::generate();
        sqlx::query(
            "INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at)
             VALUES ($1, $2, now(), now(), now() + interval '1 day')",
        )
        .bind(session.0)
        .bind(user.0)
        .execute(&self.pool)
        .await
        .unwrap();
        session
    }

    pub async fn linked_pair(&self) -> (UserId, UserId) {
        let (one, other) = (self.user(Some("Ann")).await, self.user(Some("Bob")).await);
        self.link(one, other).await;
        (one, other)
    }

    pub async fn link(&self, owner: UserId, confirmer: UserId) {
        let (_, code) = self.linking.offer(owner).await.unwrap();
        self.linking.confirm(confirmer, code.as_str()).await.unwrap();
    }

    pub fn token(&self, user: UserId, session: SessionId) -> String {
        self.keys.mint(user, session, self.clock.now(), Duration::from_mins(15))
    }

    pub fn request(&self, caller: UserId, method: &str, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token(caller, SessionId::generate())))
            .header("content-type", "application/json")
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (status, headers, bytes) = self.send_raw(request).await;
        Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    /// As [`World::send`], for what is no JSON.
    pub async fn send_raw(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
    }

    pub async fn get(&self, caller: UserId, path: &str) -> Answer {
        self.send(self.request(caller, "GET", path).body(Body::empty()).unwrap()).await
    }

    pub async fn delete(&self, caller: UserId, path: &str) -> Answer {
        self.send(self.request(caller, "DELETE", path).body(Body::empty()).unwrap()).await
    }

    pub async fn send_json(&self, caller: UserId, method: &str, path: &str, body: &Value) -> Answer {
        self.send_text(caller, method, path, &body.to_string()).await
    }

    pub async fn send_text(&self, caller: UserId, method: &str, path: &str, body: &str) -> Answer {
        self.send(self.request(caller, method, path).body(Body::from(body.to_owned())).unwrap()).await
    }

    /// What the user was told so far, in order; the seqs are checked to have no gap.
    pub async fn told(&self, user: UserId) -> Vec<Value> {
        let rows: Vec<(i64, String, Option<Value>)> =
            sqlx::query_as("SELECT seq, body, push FROM events WHERE user_id = $1 ORDER BY seq")
                .bind(user.0)
                .fetch_all(&self.pool)
                .await
                .unwrap();
        let told = rows.into_iter().zip(1..).map(|((seq, body, push), expected)| {
            assert_eq!(seq, expected, "a gap in the sequence of {user}");
            let mut event: Value = serde_json::from_str(&body).unwrap();
            event["push"] = push.unwrap_or(json!(null));
            event
        });
        told.collect()
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// Waits until so many transactions of this database wait for the locks of others.
    pub async fn blocked(&self, transactions: i64) {
        while testing::blocked(&self.pool).await < transactions {
            tokio::task::yield_now().await;
        }
    }

    /// Deadlocks that this database has seen; ends the pool, because a connection reports when it closes.
    pub async fn deadlocks(&self) -> i64 {
        use sqlx::Connection as _;

        let options = self.pool.connect_options();
        self.pool.close().await;
        let mut conn = sqlx::PgConnection::connect_with(&options).await.unwrap();
        let others = "SELECT count(*) FROM pg_stat_activity
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        while sqlx::query_scalar::<_, i64>(others).fetch_one(&mut conn).await.unwrap() > 0 {}
        sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            .fetch_one(&mut conn)
            .await
            .unwrap()
    }
}

fn messages(
    pool: &PgPool,
    clock: &SharedClock,
    heard: &Heard,
    throttle: &Arc<CountingThrottle>,
    config: &Sections,
) -> Arc<messages::Service> {
    messages::Service::new(messages::Settings {
        pool: pool.clone(),
        clock: Arc::clone(clock),
        dispatcher: Dispatcher::idle(),
        audience: Box::new(heard.clone()),
        throttle: Arc::clone(throttle) as _,
        noticed: Arc::default(),
        config: config.messages.clone(),
    })
}

fn keys() -> Arc<KeyRing> {
    let secret = "a secret that is long enough for HS256".to_owned();
    let keys = KeyRing::new([("k".to_owned(), KeyAlgorithm::HS256, secret)], "i".into(), "a".into());
    Arc::new(keys.unwrap())
}

/// The routes, as they are for who comes from this machine.
fn served(answers: OpenApiRouter, keys: &Arc<KeyRing>, clock: SharedClock) -> Router {
    let authenticator = Authenticator::new(Arc::clone(keys), clock, AllowedOrigins::default());
    let (router, _) = answers.split_for_parts();
    router
        .layer(Extension(Arc::new(authenticator)))
        .layer(Extension(PeerAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))))
}

pub fn kinds(told: &[Value]) -> Vec<&str> {
    told.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// Counts hits; its window never ends.
#[derive(Default)]
struct CountingThrottle(Mutex<HashMap<String, u32>>);

fn verdict(hits: u32, limit: Limit) -> Verdict {
    if hits < limit.max { Verdict::Allowed } else { Verdict::Refused { retry_after: limit.window } }
}

#[async_trait]
impl Throttle for CountingThrottle {
    async fn hit(&self, key: &str, limit: Limit) -> Result<Verdict, ThrottleError> {
        let mut hits = self.0.lock();
        let hits = hits.entry(key.to_owned()).or_default();
        let verdict = verdict(*hits, limit);
        if verdict == Verdict::Allowed {
            *hits += 1;
        }
        Ok(verdict)
    }

    async fn check(&self, key: &str, limit: Limit) -> Result<Verdict, ThrottleError> {
        Ok(verdict(self.0.lock().get(key).copied().unwrap_or_default(), limit))
    }

    async fn reset(&self, key: &str) -> Result<(), ThrottleError> {
        self.0.lock().remove(key);
        Ok(())
    }
}
