//! Access tokens: any text where a token should be.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use fanlight::domain::ids::{SessionId, UserId};
use fanlight::domain::tokens::{Claims, KeyAlgorithm, KeyRing, generate_private_key};
use uuid::Uuid;

const ALGORITHMS: [KeyAlgorithm; 4] =
    [KeyAlgorithm::HS256, KeyAlgorithm::ES256, KeyAlgorithm::EdDSA, KeyAlgorithm::RS256];

/// A key of each kind, and a good token by each.
struct Issuer {
    ring: KeyRing,
    genuine: Vec<(String, Claims)>,
    now: DateTime<Utc>,
}

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| {
    let keys: Vec<(String, KeyAlgorithm, String)> = ALGORITHMS
        .iter()
        .map(|algorithm| (format!("{algorithm:?}"), *algorithm, generate_private_key(*algorithm)))
        .collect();
    let ring = |keys| KeyRing::new(keys, "fuzz".into(), "fuzz".into()).expect("the keys are good");
    let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
    let all = ring(keys.clone());
    let mint = |key: &(String, KeyAlgorithm, String)| {
        let (user, session) = (UserId(Uuid::from_u128(1)), SessionId(Uuid::from_u128(2)));
        let token = ring(vec![key.clone()]).mint(user, session, now, Duration::from_secs(900));
        let claims = all.verify(&token, now).expect("our own token is good");
        (token, claims)
    };
    let genuine = keys.iter().map(mint).collect();
    Issuer { ring: all, genuine, now }
});

/// A first byte below 4 takes a good token and lets the rest change it: three bytes are a position and what stands there
/// then. Anything else is the token itself.
///
/// Only what says exactly what a good token says may be taken for one.
///
/// # Panics
/// When that is not so.
pub fn tokens(data: &[u8]) {
    let issuer = &*ISSUER;
    let token = match data.split_first() {
        Some((&index, edits)) if usize::from(index) < ALGORITHMS.len() => {
            let mut token = issuer.genuine[usize::from(index)].0.clone().into_bytes();
            for edit in edits.chunks_exact(3) {
                let at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % token.len();
                token[at] = edit[2];
            }
            token
        }
        _ => data.to_vec(),
    };
    let Ok(token) = std::str::from_utf8(&token) else { return };
    if let Ok(claims) = issuer.ring.verify(token, issuer.now) {
        let known = issuer.genuine.iter().any(|(_, genuine)| *genuine == claims);
        assert!(known, "took {token} for {claims:?}");
        let late = issuer.now + Duration::from_secs(901);
        assert!(issuer.ring.verify(token, late).is_err(), "took {token} after its end");
    }
}
