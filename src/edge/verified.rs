//! Access tokens whose signature was found good, so that it is not computed again with every request.
//!
//! Remembered by digest, in two generations: when the young one is full it becomes the old one, and what was the
//! old one is forgotten. Whether a token has expired or was revoked is not remembered; the caller checks it.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest as hash};
use parking_lot::Mutex;

use crate::domain::tokens::Claims;

/// About 300 bytes each.
const GENERATION_TOKENS_MAX: usize = 4_096;

pub type Digest = [u8; SHA256_OUTPUT_LEN];

#[derive(Default)]
pub struct VerifiedTokens(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<Digest, Claims>,
    old: HashMap<Digest, Claims>,
}

pub fn digest(token: &str) -> Digest {
    hash(&SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 has this length")
}

impl VerifiedTokens {
    pub fn find(&self, digest: &Digest) -> Option<Claims> {
        let mut generations = self.0.lock();
        if let Some(claims) = generations.young.get(digest) {
            return Some(claims.clone());
        }
        let claims = generations.old.remove(digest)?;
        generations.insert(*digest, claims.clone());
        Some(claims)
    }

    pub fn insert(&self, digest: Digest, claims: Claims) {
        self.0.lock().insert(digest, claims);
    }
}

impl Generations {
    fn insert(&mut self, digest: Digest, claims: Claims) {
        if self.young.len() >= GENERATION_TOKENS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, claims);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{SessionId, UserId};

    fn claims() -> Claims {
        Claims {
            iss: String::new(),
            aud: String::new(),
            sub: UserId::generate(),
            sid: SessionId::generate(),
            jti: String::new(),
            iat: 0,
            exp: 0,
            nbf: None,
        }
    }

    #[test]
    fn a_token_in_use_stays_however_many_come_and_the_others_go() {
        let tokens = VerifiedTokens::default();
        let (used, unused) = (claims(), claims());
        tokens.insert(digest("used"), used.clone());
        tokens.insert(digest("unused"), unused);
        for number in 0..3 * GENERATION_TOKENS_MAX {
            tokens.insert(digest(&number.to_string()), claims());
            assert_eq!(tokens.find(&digest("used")), Some(used.clone()));
        }

        assert_eq!(tokens.find(&digest("unused")), None);
        let generations = tokens.0.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION_TOKENS_MAX);
    }
}
