//! Proves to Google that we may push: a service account's key is exchanged for an access token of an hour.
//!
//! One refresh at a time for the whole process, begun while the old token is still good, so that a token endpoint
//! that fails for a few minutes is not noticed. OAuth 2.0 JWT bearer grant, RFC 7523;
//! <https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests>

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::TimeDelta;
use http::{HeaderValue, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::RwLock;
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};

use crate::domain::clock::{SharedClock, Timestamp};
use crate::ports::push::PushError;
use crate::ports::push::fcm::read_bounded;

const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Google refuses an assertion that lives longer.
const ASSERTION_LIFE: TimeDelta = TimeDelta::hours(1);
/// How long before its end a token is replaced; half its life if that is shorter.
const REFRESH_EARLY: TimeDelta = TimeDelta::minutes(5);
/// After a failure, all senders wait this long before one asks again.
const UNAVAILABLE_PAUSE: Duration = Duration::from_secs(5);
/// As above, when Google refused the service account: somebody has to change a setting.
const REFUSED_PAUSE: Duration = Duration::from_mins(1);
const TOKEN_LIFE_SECONDS_MAX: i64 = 24 * 60 * 60;

/// Who we are at Google.
pub(super) struct ServiceAccount {
    pub(super) project_id: String,
    pub(super) token_url: Url,
    email: String,
    key_id: String,
    key: EncodingKey,
}

impl ServiceAccount {
    /// Reads the JSON that Google hands out for a service account.
    pub(super) fn parse(json: &str) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct File {
            r#type: String,
            project_id: String,
            private_key_id: String,
            private_key: String,
            client_email: String,
            token_uri: String,
        }
        // serde's own error could quote the key.
        let file: File = serde_json::from_str(json)
            .map_err(|error| anyhow::anyhow!("not a service account's JSON (line {})", error.line()))?;
        ensure!(file.r#type == "service_account", "its `type` is not `service_account`");
        Ok(Self {
            project_id: file.project_id,
            token_url: Url::parse(&file.token_uri).context("its `token_uri` is not a URL")?,
            email: file.client_email,
            key_id: file.private_key_id,
            key: EncodingKey::from_rsa_pem(file.private_key.as_bytes())
                .map_err(|_| anyhow::anyhow!("its `private_key` is not an RSA key in PEM form"))?,
        })
    }

    fn assertion(&self, now: Timestamp) -> String {
        #[derive(Serialize)]
        struct Claims<'a> {
            iss: &'a str,
            scope: &'a str,
            aud: &'a str,
            iat: i64,
            exp: i64,
        }
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.key_id.clone());
        let claims = Claims {
            iss: &self.email,
            scope: SCOPE,
            aud: self.token_url.as_str(),
            iat: now.timestamp(),
            exp: (now + ASSERTION_LIFE).timestamp(),
        };
        jsonwebtoken::encode(&header, &claims, &self.key)
            .expect("a key that was read can sign a plain struct")
    }
}

/// What we show FCM with each send.
pub(super) struct AccessToken {
    header: HeaderValue,
    refresh_at: Timestamp,
    expires_at: Timestamp,
}

impl AccessToken {
    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

/// No token this time; `pause` until the next attempt.
struct Failed {
    pause: Duration,
    reason: &'static str,
}

const UNAVAILABLE: Failed = Failed { pause: UNAVAILABLE_PAUSE, reason: "oauth_unavailable" };
const REFUSED: Failed = Failed { pause: REFUSED_PAUSE, reason: "oauth_refused" };

/// When the last refresh failed: until when nobody tries, and why.
type Pause = Option<(Timestamp, &'static str)>;

/// The one access token of this process.
pub(super) struct AccessTokens {
    account: ServiceAccount,
    http: Client,
    clock: SharedClock,
    held: RwLock<Option<Arc<AccessToken>>>,
    /// Whoever has it refreshes.
    refreshing: Mutex<Pause>,
}

impl AccessTokens {
    pub(super) fn new(account: ServiceAccount, http: Client, clock: SharedClock) -> Self {
        Self { account, http, clock, held: RwLock::default(), refreshing: Mutex::default() }
    }

    /// A token that is good now. Only a caller without one waits for a refresh that another has begun.
    pub(super) async fn current(&self) -> Result<Arc<AccessToken>, PushError> {
        let Some(token) = self.usable() else {
            let turn = self.refreshing.lock().await;
            return match self.usable() {
                Some(token) => Ok(token),
                None => self.refresh(turn).await,
            };
        };
        if self.clock.now() < token.refresh_at {
            return Ok(token);
        }
        let Ok(turn) = self.refreshing.try_lock() else { return Ok(token) };
        // Looked at again: it may have been replaced between the look and the lock.
        let token = self.usable().unwrap_or(token);
        if self.clock.now() < token.refresh_at {
            return Ok(token);
        }
        Ok(self.refresh(turn).await.unwrap_or(token))
    }

    /// Another token than the one that FCM has just refused.
    pub(super) async fn replace(&self, refused: &Arc<AccessToken>) -> Result<Arc<AccessToken>, PushError> {
        let turn = self.refreshing.lock().await;
        if let Some(token) = self.usable().filter(|token| !Arc::ptr_eq(token, refused)) {
            return Ok(token);
        }
        *self.held.write() = None;
        self.refresh(turn).await
    }

    fn usable(&self) -> Option<Arc<AccessToken>> {
        let now = self.clock.now();
        self.held.read().clone().filter(|token| now < token.expires_at)
    }

    /// Cancel-safe: a refresh that is dropped leaves the turn to the next caller.
    async fn refresh(&self, mut turn: MutexGuard<'_, Pause>) -> Result<Arc<AccessToken>, PushError> {
        let now = self.clock.now();
        if let Some((until, reason)) = *turn
            && let Ok(after) = (until - now).to_std()
            && !after.is_zero()
        {
            return Err(PushError::Hold { after, reason });
        }
        match self.fetch(now).await {
            Ok(token) => {
                metrics::counter!("fanlight_push_oauth_refreshes_total", "result" => "ok").increment(1);
                let token = Arc::new(token);
                *self.held.write() = Some(Arc::clone(&token));
                *turn = None;
                Ok(token)
            }
            Err(Failed { pause, reason }) => {
                metrics::counter!("fanlight_push_oauth_refreshes_total", "result" => reason).increment(1);
                tracing::error!(push.reason = reason, "no access token for FCM; pushes wait");
                *turn = Some((self.clock.now() + pause, reason));
                Err(PushError::Hold { after: pause, reason })
            }
        }
    }

    async fn fetch(&self, now: Timestamp) -> Result<AccessToken, Failed> {
        #[derive(Deserialize)]
        struct Grant {
            access_token: String,
            expires_in: i64,
        }
        let form = [("grant_type", GRANT_TYPE), ("assertion", &self.account.assertion(now))];
        let request = self.http.post(self.account.token_url.clone()).form(&form);
        let response = request.send().await.map_err(|_| UNAVAILABLE)?;
        let status = response.status();
        if status != StatusCode::OK {
            let ours = status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
            return Err(if ours { REFUSED } else { UNAVAILABLE });
        }
        let body = read_bounded(response).await.map_err(|_| UNAVAILABLE)?;
        let grant: Grant = serde_json::from_slice(&body).map_err(|_| UNAVAILABLE)?;
        let mut header =
            HeaderValue::try_from(format!("Bearer {}", grant.access_token)).map_err(|_| UNAVAILABLE)?;
        header.set_sensitive(true);
        let life = TimeDelta::seconds(grant.expires_in.clamp(0, TOKEN_LIFE_SECONDS_MAX));
        Ok(AccessToken {
            header,
            refresh_at: now + (life - REFRESH_EARLY).max(life / 2),
            expires_at: now + life,
        })
    }
}
