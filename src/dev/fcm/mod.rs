//! A fake Firebase Cloud Messaging: shows what would have been pushed, and fails on command.
//!
//! It checks as strictly as Google does, so that what passes here passes there: the assertion at `POST /token`, the
//! bearer token and every field at `POST /v1/projects/{project}/messages:send`. HTTP/1.1, and HTTP/2 by prior
//! knowledge. `GET /log` is a JSON array of every send that arrived, oldest first:
//!
//! ```json
//! [{"at": 1710930000000, "token": "…", "message": {…}, "attempt": 1, "outcome": "accepted"}]
//! ```
//!
//! `at` is epoch ms; `attempt` counts the sends of the same `eventId` to the same token; `outcome` is `accepted`, or the
//! code of the error, or `HANG` / `RESET` / `CLOSE` for no answer. `validate_only` sends are checked, not logged.
//!
//! What a token begins with decides its fate: `unreg-` `mismatch-` `bad-` `quota-` `apnsauth-` are refused as their names
//! say, `flaky-N-` is 503 for its first N sends, `hang-` is never answered, `slow-` is accepted 2 s late.
//!
//! `POST /script` takes a [`Script`]; all fields are optional:
//!
//! ```json
//! {
//!   "reset": true,
//!   "replies": [{"times": 3, "token": "…", "code": "UNAVAILABLE", "retryAfter": 5, "latencyMs": 100, "cut": "reset"}],
//!   "latencyMs": {"min": 5, "max": 50},
//!   "sendsPerMinute": 600,
//!   "oauth": {"mode": "ok", "expiresIn": 3600, "revoke": true},
//!   "goaway": true
//! }
//! ```
//!
//! * `reset` forgets the log, the devices and all that was scripted before; the rest of the same script then applies.
//! * `replies` are used up in order by the next valid sends (those to `token`, if given). `code` is a row of the error
//!   table ([`replies::Code`]), or `ACCEPTED`, the default; `status` overrides its HTTP status; `body` replaces its body.
//!   `retryAfter` is sent as it is: seconds, or a string such as an HTTP date. `cut` ends the connection instead of
//!   answering, after the outcome is settled: `close` (FIN), `reset` (RST), or `midway` (RST in the middle of the answer).
//!   So `{"cut": "close"}` accepts and drops the response.
//! * `latencyMs` delays every later answer by a random time; `sendsPerMinute` answers 429 above it, in minutes that begin
//!   with a send and count whatever is not answered 429.
//! * `oauth` sets the token endpoint's mode (`ok`, `error` = 500, `hang`) and the life of the tokens that it issues from
//!   now on; `revoke` makes all issued ones worthless at once.
//!
//! * `goaway` ends every open connection in order: HTTP/2 ones are told GOAWAY, and answer what they have.
//!
//! The answer is `{"pendingReplies": 1, "tokenRequests": 7}`.
//!
//! Behind each token is a device. `GET /devices/{token}` shows its screen, what came and what is stored for it while it is
//! away ([`Device`]); `POST /devices/{token}` with `{"online": false}` sends it away, with `true` brings it back.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::{get, post};
use http::StatusCode;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::domain::clock::{SharedClock, SystemClock};
use crate::shutdown::Shutdown;

mod account;
mod devices;
mod log;
mod oauth;
mod replies;
mod script;
mod send;
mod server;
mod validate;

use account::Account;
pub use account::service_account;
pub use devices::{Device, Stored};
use devices::{Devices, Presence};
pub use log::Entry;
use log::Log;
use oauth::Issued;
pub use replies::Code;
use script::Scripted;
pub use script::{Cut, Latency, OauthMode, OauthScript, ReplyScript, RetryAfter, Script};

pub struct Config {
    pub project_id: String,
    pub clock: SharedClock,
    /// The log forgets its oldest entries beyond this many.
    pub log_entries_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { project_id: "fanlight-dev".to_owned(), clock: Arc::new(SystemClock), log_entries_max: 20_000 }
    }
}

/// A running fake. Dropping it does not stop it; the shutdown does.
#[derive(Clone)]
pub struct FakeFcm {
    address: SocketAddr,
    state: Arc<Fake>,
}

/// What all requests share.
struct Fake {
    account: Account,
    clock: SharedClock,
    inner: Mutex<Inner>,
    /// A new value ends the connections that were opened before it.
    goaway: watch::Sender<()>,
}

struct Inner {
    log: Log,
    devices: Devices,
    issued: Issued,
    scripted: Scripted,
}

/// Binds `listen` and serves until `shutdown`.
///
/// # Errors
/// When the address cannot be bound.
pub async fn start(shutdown: &Shutdown, listen: SocketAddr, config: Config) -> anyhow::Result<FakeFcm> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let state = Arc::new(Fake {
        account: Account::generate(config.project_id, &format!("http://{address}/token")),
        clock: config.clock,
        inner: Mutex::new(Inner {
            log: Log::new(config.log_entries_max),
            devices: Devices::default(),
            issued: Issued::default(),
            scripted: Scripted::default(),
        }),
        goaway: watch::Sender::new(()),
    });
    let router = Router::new()
        .route("/token", post(oauth::token))
        .route("/v1/projects/{project}/messages:send", post(send::send))
        .route("/script", post(set_script))
        .route("/log", get(read_log))
        .route("/devices/{token}", get(read_device).post(move_device))
        .fallback(not_found)
        .with_state(Arc::clone(&state));
    server::serve(shutdown, listener, router, state.goaway.subscribe());
    Ok(FakeFcm { address, state })
}

impl FakeFcm {
    /// What `push.fcm.base_url` should be.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A service account's JSON that this fake accepts, its own token endpoint in it.
    #[must_use]
    pub fn service_account(&self) -> &str {
        &self.state.account.json
    }

    pub fn script(&self, script: Script) {
        self.state.apply(script);
    }

    /// As `GET /devices/{token}`.
    #[must_use]
    pub fn device(&self, token: &str) -> Device {
        self.state.inner.lock().devices.device(token)
    }

    /// As `POST /devices/{token}`.
    pub fn set_online(&self, token: &str, online: bool) {
        self.state.set_online(token, online);
    }

    /// Forgets the scripted replies that were not used up; the log stays.
    pub fn end_replies(&self) {
        self.state.inner.lock().scripted.end_replies();
    }

    /// As `GET /log`.
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.state.inner.lock().log.entries()
    }

    /// The newest entries of the log, the newest first.
    #[must_use]
    pub fn latest(&self, count: usize) -> Vec<Entry> {
        self.state.inner.lock().log.latest(count)
    }

    /// How often somebody asked for an access token.
    #[must_use]
    pub fn token_requests(&self) -> u64 {
        self.state.inner.lock().issued.requests()
    }
}

impl Fake {
    fn apply(&self, script: Script) {
        if script.goaway {
            self.goaway.send_replace(());
        }
        self.inner.lock().apply(script);
    }

    fn set_online(&self, token: &str, online: bool) {
        let now = self.clock.now().timestamp_millis();
        self.inner.lock().devices.set_online(token, online, now);
    }
}

impl Inner {
    fn apply(&mut self, script: Script) {
        if script.reset {
            self.log.clear();
            self.devices = Devices::default();
            self.scripted = Scripted::default();
        }
        if script.oauth.as_ref().is_some_and(|oauth| oauth.revoke) {
            self.issued.revoke();
        }
        self.scripted.apply(script);
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScriptTaken {
    pending_replies: usize,
    token_requests: u64,
}

async fn set_script(State(fake): State<Arc<Fake>>, Json(script): Json<Script>) -> Json<ScriptTaken> {
    fake.apply(script);
    let inner = fake.inner.lock();
    Json(ScriptTaken {
        pending_replies: inner.scripted.pending_replies(),
        token_requests: inner.issued.requests(),
    })
}

async fn read_log(State(fake): State<Arc<Fake>>) -> Json<Vec<Entry>> {
    Json(fake.inner.lock().log.entries())
}

async fn read_device(State(fake): State<Arc<Fake>>, Path(token): Path<String>) -> Json<Device> {
    Json(fake.inner.lock().devices.device(&token))
}

async fn move_device(
    State(fake): State<Arc<Fake>>,
    Path(token): Path<String>,
    Json(Presence { online }): Json<Presence>,
) -> Json<Device> {
    fake.set_online(&token, online);
    Json(fake.inner.lock().devices.device(&token))
}

/// Google's front end answers an unknown path in HTML, not in the API's JSON.
async fn not_found() -> Response {
    let page = "<!DOCTYPE html>\n<html lang=en>\n  <title>Error 404 (Not Found)!!1</title>\n  <p><b>404.</b> <ins>That’s an error.</ins>\n";
    (StatusCode::NOT_FOUND, Html(page)).into_response()
}
