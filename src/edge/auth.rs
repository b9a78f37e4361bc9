//! Who is calling: verifies access tokens, and knows which sessions were revoked while theirs live on.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
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

/// How far from us the page stands that made a request (Fetch Metadata). Browsers set it; pages cannot.
const FETCH_SITE: &str = "sec-fetch-site";

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
                if !method.is_safe() && self.origins.is_foreign(headers) {
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
        is_own_host(&origin, headers) || self.0.contains(&origin)
    }

    /// Whether a browser says that the page of another site made this request. A client that says nothing of
    /// the kind is no browser: nobody else can make it send its cookie.
    #[must_use]
    pub fn is_foreign(&self, headers: &HeaderMap) -> bool {
        if headers.contains_key(ORIGIN) {
            return !self.allows_headers(headers);
        }
        headers.get_all(FETCH_SITE).iter().any(|site| site != "same-origin" && site != "none")
    }
}

/// Whether a web page of the host that was asked made the request. TLS may end before us, so both schemes
/// are; anything else (`null`, an extension) is not the host's.
fn is_own_host(origin: &str, headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
        };
        pairs.iter().map(header).collect()
    }

    #[test]
    fn an_origin_is_compared_whole() {
        let origins = AllowedOrigins::new(&["https://App.example/".into()]);
        let allows =
            |origin| origins.allows_headers(&headers(&[("host", "api.example:8080"), ("origin", origin)]));
        for own in ["https://app.example", "HTTPS://APP.EXAMPLE", "http://api.example:8080"] {
            assert!(allows(own), "{own}");
        }
        for foreign in [
            "https://app.example.evil",
            "https://evil.app.example",
            "https://app.example:8443",
            "http://app.example",
            "https://api.example",
            "chrome-extension://api.example:8080",
            "api.example:8080",
            "null",
            "",
        ] {
            assert!(!allows(foreign), "{foreign}");
        }
    }

    #[test]
    fn without_a_host_no_origin_is_the_hosts() {
        let origins = AllowedOrigins::default();
        assert!(!origins.allows_headers(&headers(&[("origin", "null")])));
        assert!(!origins.allows_headers(&headers(&[("origin", "https://a.example")])));
    }

    #[test]
    fn two_origins_are_none() {
        let origins = AllowedOrigins::new(&["https://app.example".into()]);
        let mut two = headers(&[("origin", "https://app.example")]);
        two.append(ORIGIN, http::HeaderValue::from_static("https://app.example"));
        assert!(!origins.allows_headers(&two));
    }

    #[test]
    fn a_request_that_a_browser_calls_foreign_is() {
        let origins = AllowedOrigins::default();
        let foreign = |pairs| origins.is_foreign(&headers(pairs));
        assert!(foreign(&[("host", "a.example"), ("sec-fetch-site", "cross-site")]));
        assert!(foreign(&[("host", "a.example"), ("sec-fetch-site", "same-site")]));
        assert!(foreign(&[("host", "a.example"), ("origin", "https://b.example")]));
        assert!(!foreign(&[("host", "a.example"), ("sec-fetch-site", "same-origin")]));
        assert!(!foreign(&[("host", "a.example"), ("sec-fetch-site", "none")]));
        assert!(!foreign(&[("host", "a.example"), ("origin", "https://a.example")]));
        assert!(!foreign(&[("host", "a.example")]));
    }
}
