//! Hashes passwords with Argon2id (RFC 9106), off the async threads.
//!
//! Each hash costs memory and a core on purpose, so their number is bounded: a request first takes a [`Place`],
//! and when there is none it is refused at once, before any limit has counted it as an attempt.

use std::sync::Arc;
use std::time::Instant;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::Config;
use super::error::AccountError;
use crate::domain::random;

pub struct Hasher {
    argon2: Argon2<'static>,
    places: Arc<Semaphore>,
    running: Arc<Semaphore>,
    /// The hash of a password nobody knows: an unknown account takes as long as a wrong password.
    dummy: String,
}

/// The right to have one password hashed soon.
pub struct Place {
    argon2: Argon2<'static>,
    running: Arc<Semaphore>,
    _permit: OwnedSemaphorePermit,
}

/// What a password turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    Right,
    /// Right, but hashed with weaker parameters than today's: this is its new hash.
    RightAndRehashed(String),
}

impl Hasher {
    /// Hashes once, which takes as long as a login.
    ///
    /// # Errors
    /// When Argon2 does not know such parameters.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, config.hashing_params()?);
        let dummy = hash(&argon2, &random::secret());
        Ok(Self {
            argon2,
            places: Arc::new(Semaphore::new(config.hashing_concurrency + config.hashing_queue_max)),
            running: Arc::new(Semaphore::new(config.hashing_concurrency)),
            dummy,
        })
    }

    #[must_use]
    pub fn dummy(&self) -> &str {
        &self.dummy
    }

    /// # Errors
    /// [`AccountError::Overloaded`] when the queue is full.
    pub fn place(&self) -> Result<Place, AccountError> {
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            metrics::counter!("fanlight_accounts_hashing_refused_total").increment(1);
            AccountError::Overloaded
        })?;
        Ok(Place { argon2: self.argon2.clone(), running: Arc::clone(&self.running), _permit: permit })
    }
}

impl Place {
    pub async fn hash(self, password: String) -> String {
        self.run(move |argon2| hash(argon2, &password)).await
    }

    pub async fn verify(self, password: String, stored: String) -> Verdict {
        self.run(move |argon2| verify(argon2, &password, &stored)).await
    }

    /// Both permits move into the blocking task: it goes on when the request is dropped, and still counts.
    async fn run<T: Send + 'static>(self, job: impl FnOnce(&Argon2<'_>) -> T + Send + 'static) -> T {
        let permit = Arc::clone(&self.running).acquire_owned().await.expect("the semaphore is never closed");
        tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            let result = job(&self.argon2);
            metrics::histogram!("fanlight_accounts_hashing_seconds").record(started.elapsed());
            drop((permit, self));
            result
        })
        .await
        .expect("hashing neither panics nor is aborted")
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> String {
    argon2
        .hash_password(password.as_bytes())
        .expect("checked parameters, a password of bounded length and a seeded random source")
        .to_string()
}

fn verify(argon2: &Argon2<'_>, password: &str, stored: &str) -> Verdict {
    let Ok(parsed) = PasswordHash::new(stored) else { return Verdict::Wrong };
    // Verified with the parameters in the hash, not with today's.
    if argon2.verify_password(password.as_bytes(), &parsed).is_err() {
        return Verdict::Wrong;
    }
    match Params::try_from(&parsed) {
        Ok(params) if is_weaker(&params, argon2.params()) => {
            Verdict::RightAndRehashed(hash(argon2, password))
        }
        _ => Verdict::Right,
    }
}

fn is_weaker(old: &Params, new: &Params) -> bool {
    old.m_cost() < new.m_cost() || old.t_cost() < new.t_cost()
}
