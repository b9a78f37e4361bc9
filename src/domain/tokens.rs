//! Access tokens: who somebody is for the next minutes, signed, so that any node can tell without asking.
//!
//! JWT (RFC 7519) of type `at+jwt` (RFC 9068). The key is chosen by `kid`, the algorithm by the key, never
//! by the token's header: a token that names another algorithm than its key's is refused.

use std::time::Duration;

use chrono::DateTime;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};

const TOKEN_TYPE: &str = "at+jwt";
/// A longer token is not one of ours; refused before any work is spent on it.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How far a client's and our clocks may differ.
const LEEWAY: Duration = Duration::from_secs(5);
const HS256_SECRET_BYTES_MIN: usize = 32;

/// What an access token says. Times are seconds since 1970, as RFC 7519 wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: UserId,
    pub sid: SessionId,
    pub jti: String,
    pub iat: i64,
    pub exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
}

impl Claims {
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        DateTime::from_timestamp(self.exp, 0).unwrap_or(DateTime::<chrono::Utc>::MAX_UTC)
    }
}

/// The signature algorithms that a key may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum KeyAlgorithm {
    ES256,
    RS256,
    EdDSA,
    HS256,
}

impl From<KeyAlgorithm> for Algorithm {
    fn from(algorithm: KeyAlgorithm) -> Self {
        match algorithm {
            KeyAlgorithm::ES256 => Self::ES256,
            KeyAlgorithm::RS256 => Self::RS256,
            KeyAlgorithm::EdDSA => Self::EdDSA,
            KeyAlgorithm::HS256 => Self::HS256,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("key `{kid}` is not a valid {algorithm:?} private key in PEM form")]
    Unreadable { kid: String, algorithm: KeyAlgorithm },
    #[error("key `{kid}` is too short: HS256 needs at least 32 bytes")]
    TooShort { kid: String },
    #[error("there is no signing key")]
    None,
    #[error("two signing keys have the id `{kid}`")]
    Twice { kid: String },
}

/// Why a token is not accepted. The client is told only that it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is not one of ours, or was changed")]
    Invalid,
    #[error("the token has expired")]
    Expired,
}

struct Key {
    kid: String,
    algorithm: Algorithm,
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// `None` for a shared secret, which nobody may see.
    public: Option<Jwk>,
}

/// The keys of this cluster: the first signs, all verify, so that keys can be rotated without a failed request.
pub struct KeyRing {
    keys: Vec<Key>,
    issuer: String,
    audience: String,
}

impl KeyRing {
    /// # Errors
    /// When a key cannot be read, is too short, or an id stands twice.
    pub fn new(
        keys: impl IntoIterator<Item = (String, KeyAlgorithm, String)>,
        issuer: String,
        audience: String,
    ) -> Result<Self, KeyError> {
        let mut ring = Self { keys: Vec::new(), issuer, audience };
        for (kid, algorithm, secret) in keys {
            if ring.key(&kid).is_some() {
                return Err(KeyError::Twice { kid });
            }
            ring.keys.push(read_key(kid, algorithm, &secret)?);
        }
        if ring.keys.is_empty() { Err(KeyError::None) } else { Ok(ring) }
    }

    /// Signs a token with the first key, for this ring's issuer and audience.
    #[must_use]
    pub fn mint(&self, user: UserId, session: SessionId, now: Timestamp, ttl: Duration) -> String {
        let key = &self.keys[0];
        let iat = now.timestamp();
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: user,
            sid: session,
            jti: uuid::Uuid::now_v7().to_string(),
            iat,
            exp: iat.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)),
            nbf: None,
        };
        let mut header = Header::new(key.algorithm);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(key.kid.clone());
        jsonwebtoken::encode(&header, &claims, &key.encoding)
            .expect("a key that was read can sign a plain struct")
    }

    /// Checks the signature, the type, the issuer, the audience and the times.
    ///
    /// # Errors
    /// [`TokenError::Expired`] only for a token that is genuine in every other way.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        if header.typ.as_deref() != Some(TOKEN_TYPE)
            || header.crit.is_some()
            || header.jku.is_some()
            || header.jwk.is_some()
            || header.x5u.is_some()
            || header.x5c.is_some()
        {
            return Err(TokenError::Invalid);
        }
        let key = header.kid.as_deref().and_then(|kid| self.key(kid)).ok_or(TokenError::Invalid)?;

        let mut rules = Validation::new(key.algorithm);
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(&[&self.audience]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are checked below, against the clock that we were given.
        rules.validate_exp = false;
        rules.validate_nbf = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &rules)
            .map_err(|_| TokenError::Invalid)?
            .claims;

        let (now, leeway) = (now.timestamp(), LEEWAY.as_secs().cast_signed());
        if claims.exp <= now {
            return Err(TokenError::Expired);
        }
        let starts = claims.nbf.unwrap_or(claims.iat).max(claims.iat);
        if starts > now + leeway {
            return Err(TokenError::Invalid);
        }
        Ok(claims)
    }

    /// The public keys (RFC 7517), for others who want to check our tokens.
    #[must_use]
    pub fn jwks(&self) -> JwkSet {
        JwkSet { keys: self.keys.iter().filter_map(|key| key.public.clone()).collect() }
    }

    fn key(&self, kid: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.kid == kid)
    }
}

fn read_key(kid: String, algorithm: KeyAlgorithm, secret: &str) -> Result<Key, KeyError> {
    let pem = secret.as_bytes();
    let parsed = match algorithm {
        KeyAlgorithm::ES256 => EncodingKey::from_ec_pem(pem),
        KeyAlgorithm::RS256 => EncodingKey::from_rsa_pem(pem),
        KeyAlgorithm::EdDSA => EncodingKey::from_ed_pem(pem),
        KeyAlgorithm::HS256 if secret.len() < HS256_SECRET_BYTES_MIN => {
            return Err(KeyError::TooShort { kid });
        }
        KeyAlgorithm::HS256 => Ok(EncodingKey::from_secret(pem)),
    };
    let unreadable = |kid: &str| KeyError::Unreadable { kid: kid.to_owned(), algorithm };
    let encoding = parsed.map_err(|_| unreadable(&kid))?;
    let algorithm = Algorithm::from(algorithm);
    if algorithm == Algorithm::HS256 {
        let decoding = DecodingKey::from_secret(pem);
        return Ok(Key { kid, algorithm, encoding, decoding, public: None });
    }
    let mut public = Jwk::from_encoding_key(&encoding, algorithm).map_err(|_| unreadable(&kid))?;
    public.common.key_id = Some(kid.clone());
    public.common.public_key_use = Some(PublicKeyUse::Signature);
    let decoding = DecodingKey::from_jwk(&public).map_err(|_| unreadable(&kid))?;
    Ok(Key { kid, algorithm, encoding, decoding, public: Some(public) })
}

/// A new private key in PKCS #8 PEM form; for HS256 a random secret.
///
/// # Panics
/// Never: the random source is seeded before we run.
#[must_use]
pub fn generate_private_key(algorithm: KeyAlgorithm) -> String {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};

    let random = aws_lc_rs::rand::SystemRandom::new();
    let der = match algorithm {
        KeyAlgorithm::HS256 => return crate::domain::random::secret(),
        KeyAlgorithm::ES256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map(|document| document.as_ref().to_vec()),
        KeyAlgorithm::EdDSA => {
            Ed25519KeyPair::generate_pkcs8v1(&random).map(|document| document.as_ref().to_vec())
        }
        KeyAlgorithm::RS256 => RsaKeyPair::generate(KeySize::Rsa2048)
            .and_then(|pair| AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map(|der| der.as_ref().to_vec())),
    };
    pem(&der.expect("key generation only fails without a random source"))
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;

    const LINE: usize = 64; // RFC 7468 §2
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(LINE) {
        out.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        out.push('\n');
    }
    out.push_str("-----END PRIVATE KEY-----\n");
    out
}
