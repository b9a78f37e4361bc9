//! Firebase Cloud Messaging: Google carries the push to the phone or the browser.
//!
//! One POST per token, over one pool of connections. What is sent is in [`message`], who we are in [`auth`], and
//! what each refusal means in [`errors`]. Whatever FCM answers, a token dies only when FCM names it.
//! <https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send>

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Response, Url, redirect};
use tokio::time::Instant;

use crate::domain::clock::SharedClock;
use crate::ports::push::{Accepted, Push, PushError, PushGateway};

mod auth;
mod config;
mod errors;
mod message;
#[cfg(all(test, feature = "dev"))]
mod tests;

use auth::{AccessToken, AccessTokens};
pub use config::Config;
use errors::{Refusal, Reply};

/// Google's answers have a few hundred bytes; what is longer is not read.
const REPLY_BYTES_MAX: usize = 64 * 1024;
/// A connection that was silent for so long is asked whether it lives, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long all pushes wait after FCM refused a fresh access token.
const CREDENTIALS_HOLD: Duration = Duration::from_mins(1);

/// Sends over FCM's HTTP v1 API. One per process: it owns the connections and the access token.
pub struct FcmGateway {
    http: Client,
    send_url: Url,
    tokens: AccessTokens,
    clock: SharedClock,
    deadline: Duration,
}

impl FcmGateway {
    /// Reads the service account; does not connect yet.
    ///
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn new(config: &Config, clock: SharedClock) -> anyhow::Result<Self> {
        Self::over(Client::builder(), config, clock)
    }

    fn over(http: ClientBuilder, config: &Config, clock: SharedClock) -> anyhow::Result<Self> {
        let account = config.account()?;
        let http = http
            // Google does not redirect; following one would hand our token to somebody else.
            .redirect(redirect::Policy::none())
            // Where we connect to is a setting of ours, not of the environment.
            .no_proxy()
            .timeout(config.timeout())
            // All sends share one HTTP/2 connection: if it dies unnoticed, they would all time out on it.
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .build()
            .context("push.fcm: cannot set up TLS")?;
        let send_url = config.send_url(&account.project_id)?;
        let tokens = AccessTokens::new(account, http.clone(), Arc::clone(&clock));
        Ok(Self { http, send_url, tokens, clock, deadline: 2 * config.timeout() })
    }

    /// One message; after a 401 once more, with a new access token.
    async fn deliver(&self, push: &Push) -> Result<Accepted, PushError> {
        let body = message::encode(push, self.clock.now());
        let token = self.tokens.current().await?;
        match self.post(&body, &token).await {
            Ok(accepted) => return Ok(accepted),
            Err(Refusal::Push(error)) => return Err(error),
            Err(Refusal::Credentials) => {}
        }
        let token = self.tokens.replace(&token).await?;
        match self.post(&body, &token).await {
            Ok(accepted) => Ok(accepted),
            Err(Refusal::Push(error)) => Err(error),
            Err(Refusal::Credentials) => {
                tracing::error!("FCM refuses a fresh access token: is the service account of this project?");
                Err(PushError::Hold { after: CREDENTIALS_HOLD, reason: "unauthenticated" })
            }
        }
    }

    /// One POST, measured.
    async fn post(&self, body: &[u8], token: &AccessToken) -> Result<Accepted, Refusal> {
        let started = Instant::now();
        let answer = self.exchange(body, token).await;
        let result = match &answer {
            Ok(_) => "accepted",
            Err(refusal) => refusal.reason(),
        };
        metrics::counter!("fanlight_push_requests_total", "result" => result).increment(1);
        metrics::histogram!("fanlight_push_request_duration_seconds").record(started.elapsed());
        answer
    }

    async fn exchange(&self, body: &[u8], token: &AccessToken) -> Result<Accepted, Refusal> {
        let request = self
            .http
            .post(self.send_url.clone())
            .header(AUTHORIZATION, token.header())
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_vec());
        let response = request.send().await.map_err(|error| not_answered(&error))?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| errors::retry_after(text, self.clock.now()));
        let body = read_bounded(response).await.map_err(|error| not_answered(&error))?;
        if status == StatusCode::OK {
            return accepted(&body);
        }
        Err(errors::classify(&Reply { status, retry_after, body: &body }))
    }
}

#[async_trait]
impl PushGateway for FcmGateway {
    /// Takes at most twice `push.fcm.timeout_ms`, whatever happens: an access token and a send.
    async fn send(&self, push: &Push) -> Result<Accepted, PushError> {
        push.check()?;
        let answer = tokio::time::timeout(self.deadline, self.deliver(push)).await;
        answer.unwrap_or(Err(PushError::Retry { after: None, reason: "timeout" }))
    }
}

/// Only FCM's own receipt counts: a 200 from a box in between would lose the event.
fn accepted(body: &[u8]) -> Result<Accepted, Refusal> {
    #[derive(serde::Deserialize)]
    struct Receipt {
        name: String,
    }
    match serde_json::from_slice::<Receipt>(body) {
        Ok(receipt) if receipt.name.starts_with("projects/") => Ok(Accepted { name: receipt.name }),
        _ => Err(Refusal::Push(PushError::Retry { after: None, reason: "unexpected_response" })),
    }
}

/// FCM may have taken the message all the same: the device hides the duplicate behind its collapse key.
fn not_answered(error: &reqwest::Error) -> Refusal {
    let reason = if error.is_timeout() { "timeout" } else { "connection_failed" };
    Refusal::Push(PushError::Retry { after: None, reason })
}

/// The start of a body: the rest of an over-long one is not read, and then does not parse.
async fn read_bounded(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = REPLY_BYTES_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    Ok(body)
}
