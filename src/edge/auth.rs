//! Who is calling: verifies access tokens, and knows which sessions were revoked while theirs live on.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use http::header::{AUTHORIZATION, COOKIE, ORIGIN};
use http::{HeaderMap, Method};
use parking_lot::RwLock;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::ids::SessionId;
use crate::domain::tokens::{Claims, KeyAlgorithm, KeyRing, TokenError};
use crate::edge::http::extract::Caller;
use crate::edge::http::problem::{ErrorCode, Problem};
use crate::edge::verified::{self, VerifiedTokens};

/// The cookie that carries the access token of a browser.
pub const SESSION_COOKIE: &str = "jwt_token";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `iss` of our tokens.
    pub issuer: String,
    /// `aud` of our tokens.
    pub audience: String,
    /// The first signs, all verify.
    pub keys: Vec<KeyConfig>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    pub kid: String,
    pub algorithm: KeyAlgorithm,
    /// PEM, or the secret of HS256.
    pub private_key: Option<SecretString>,
    /// Names a file that holds it.
    pub private_key_file: Option<PathBuf>,
}

impl Config {
    /// Reads the keys.
    ///
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn key_ring(&self) -> anyhow::Result<KeyRing> {
        let keys = self.keys.iter().map(|key| {
            let secret = match (&key.private_key, &key.private_key_file) {
                (Some(secret), None) => secret.expose_secret().to_owned(),
                (None, Some(path)) => std::fs::read_to_string(path)
                    .with_context(|| format!("auth.keys: cannot read {}", path.display()))?,
                _ => bail!("auth.keys: key `{}` needs either private_key or private_key_file", key.kid),
            };
            Ok((key.kid.clone(), key.algorithm, secret))
        });
        let keys = keys.collect::<anyhow::Result<Vec<_>>>()?;
        KeyRing::new(keys, self.issuer.clone(), self.audience.clone())
            .context("auth.keys: make a key with `fanlight keys generate`")
    }
}

/// Verifies tokens for HTTP and WebSocket alike.
pub struct Authenticator {
    keys: Arc<KeyRing>,
    clock: SharedClock,
    verified: VerifiedTokens,
    revoked: RevokedSessions,
    origins: AllowedOrigins,
}

impl Authenticator {
    #[must_use]
    pub fn new(keys: Arc<KeyRing>, clock: SharedClock, origins: AllowedOrigins) -> Self {
        let (verified, revoked) = (VerifiedTokens::default(), RevokedSessions::default());
        Self { keys, clock, verified, revoked, origins }
    }

    #[must_use]
    pub fn revoked(&self) -> &RevokedSessions {
        &self.revoked
    }

    #[must_use]
    pub fn origins(&self) -> &AllowedOrigins {
        &self.origins
    }

    /// # Errors
    /// When the token is not ours, has expired, or its session was revoked.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let claims = self.keys.verify(token, self.clock.now())?;
        if self.revoked.contains(claims.sid) { Err(TokenError::Invalid) } else { Ok(claims) }
    }

    /// As [`Authenticator::verify`], for tokens that come with every request: a signature is checked once.
    fn verify_often(&self, token: &str) -> Result<Claims, TokenError> {
        let digest = verified::digest(token);
        let Some(claims) = self.verified.find(&digest) else {
            let claims = self.verify(token)?;
            self.verified.insert(digest, claims.clone());
            return Ok(claims);
        };
        if claims.expires_at() <= self.clock.now() {
            return Err(TokenError::Expired);
        }
        if self.revoked.contains(claims.sid) { Err(TokenError::Invalid) } else { Ok(claims) }
    }

    /// The caller of an HTTP request. A bearer token wins over the cookie; a request that changes
    /// something by cookie must come from an origin of ours, or another site could make it.
    ///
    /// # Errors
    /// 401 without a valid token; 403 for a cookie from a foreign origin.
    pub fn caller(&self, headers: &HeaderMap, method: &Method) -> Result<Caller, Problem> {
        let token = match (bearer_token(headers), session_cookie(headers)) {
            (Some(token), _) => token,
            (None, Some(token)) => {
                if !method.is_safe() && headers.contains_key(ORIGIN) && !self.origins.allows_headers(headers)
                {
                    return Err(ErrorCode::ForeignOrigin.into());
                }
                token
            }
            (None, None) => return Err(ErrorCode::Unauthenticated.into()),
        };
        let claims = self
            .verify_often(token)
            .map_err(|error| Problem::new(ErrorCode::Unauthenticated).detail(error.to_string()))?;
        Ok(Caller { user: claims.sub, session: claims.sid, expires_at: claims.expires_at() })
    }
}

/// The token of `Authorization: Bearer …`.
#[must_use]
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The token of the session cookie.
#[must_use]
pub fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == SESSION_COOKIE).then_some(value))
        .filter(|token| !token.is_empty())
}

/// The web origins (`https://app.example`) whose pages may use us with a cookie or open a socket.
#[derive(Clone, Debug, Default)]
pub struct AllowedOrigins(Arc<[String]>);

impl AllowedOrigins {
    #[must_use]
    pub fn new(origins: &[String]) -> Self {
        Self(origins.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect())
    }

    /// Whether the request's one `Origin` is on the list, compared whole, or is the very host asked for.
    #[must_use]
    pub fn allows_headers(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else { return false };
        let Ok(origin) = origin.to_str() else { return false };
        let origin = origin.to_ascii_lowercase();
        let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        // `Origin: null` has no host, and must not equal a `Host` that is not there.
        let same_host = origin
            .split_once("://")
            .is_some_and(|(_, origin)| host.is_some_and(|host| host.eq_ignore_ascii_case(origin)));
        same_host || self.0.contains(&origin)
    }
}

/// Sessions that were revoked while access tokens of theirs may still be unexpired.
#[derive(Default)]
pub struct RevokedSessions(RwLock<HashMap<SessionId, Timestamp>>);

impl RevokedSessions {
    /// Remembers a revocation until `forget_at`, when the last token of that session has expired.
    /// Returns whether it was news.
    pub fn insert(&self, session: SessionId, forget_at: Timestamp) -> bool {
        self.0.write().insert(session, forget_at).is_none()
    }

    #[must_use]
    pub fn contains(&self, session: SessionId) -> bool {
        self.0.read().contains_key(&session)
    }

    /// Drops what no live token can refer to any more.
    pub fn forget_before(&self, now: Timestamp) {
        self.0.write().retain(|_, forget_at| *forget_at > now);
    }
}
