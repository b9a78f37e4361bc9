//! How often one may try to log in or to register.
//!
//! The tight limit is for one account from one address, so that a stranger who guesses locks out only
//! himself. The two wide ones stop guessing from many addresses, and at many accounts. An address at which
//! the account is or was signed in is exempt from the account's wide limit: its owner always gets in.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::config::Config;
use super::error::AccountError;
use super::model::Account;
use crate::domain::ids::UserId;
use crate::edge::http::addresses::network;
use crate::ports::throttle::{Limit, Throttle, Verdict};

pub struct Limits {
    throttle: Arc<dyn Throttle>,
    per_account_and_address: Limit,
    per_account: Limit,
    per_address: Limit,
    registrations: Limit,
}

/// The keys that one login is counted under.
pub struct LoginKeys {
    account_and_address: String,
    account: String,
    address: String,
}

impl LoginKeys {
    /// `user` is whose account it is, if there is one: its e-mail address and its username count as one.
    #[must_use]
    pub fn new(account: &Account, user: Option<UserId>, address: IpAddr) -> Self {
        let name = user.map_or_else(|| account.normalized().to_owned(), |user| user.to_string());
        // Hashed: names of accounts do not belong into Redis.
        let digest = digest::digest(&digest::SHA256, name.as_bytes());
        let account = URL_SAFE_NO_PAD.encode(digest);
        let network = network(address);
        Self {
            account_and_address: format!("login:{account}:{network}"),
            account: format!("login:{account}"),
            address: address_key(address),
        }
    }
}

impl Limits {
    #[must_use]
    pub fn new(throttle: Arc<dyn Throttle>, config: &Config) -> Self {
        Self {
            throttle,
            per_account_and_address: config.per_account_and_address(),
            per_account: config.per_account(),
            per_address: config.per_address(),
            registrations: config.registrations(),
        }
    }

    /// Whether the address has failures left. Counts nothing, because many people may log in from one address.
    pub async fn check_address(&self, address: IpAddr) -> Result<(), AccountError> {
        allowed(self.throttle.check(&address_key(address), self.per_address).await?, "login_address")
    }

    /// Counts an attempt before it is made: of many parallel guesses exactly the limit are tried.
    pub async fn count_attempt(&self, keys: &LoginKeys, is_known_address: bool) -> Result<(), AccountError> {
        let verdict = self.throttle.hit(&keys.account_and_address, self.per_account_and_address).await?;
        allowed(verdict, "login_account_and_address")?;
        if is_known_address {
            return Ok(());
        }
        allowed(self.throttle.hit(&keys.account, self.per_account).await?, "login_account")
    }

    pub async fn count_failure(&self, keys: &LoginKeys) -> Result<(), AccountError> {
        self.throttle.hit(&keys.address, self.per_address).await?;
        Ok(())
    }

    /// Forgets what was counted against the account. Not against the address: an attacker would log in to an
    /// account of his own between guesses.
    pub async fn count_success(&self, keys: &LoginKeys) -> Result<(), AccountError> {
        self.throttle.reset(&keys.account_and_address).await?;
        self.throttle.reset(&keys.account).await?;
        Ok(())
    }

    pub async fn count_registration(&self, address: IpAddr) -> Result<(), AccountError> {
        let key = format!("register:{}", network(address));
        allowed(self.throttle.hit(&key, self.registrations).await?, "registration")
    }
}

fn address_key(address: IpAddr) -> String {
    format!("login:{}", network(address))
}

fn allowed(verdict: Verdict, scope: &'static str) -> Result<(), AccountError> {
    verdict.allowed(scope).map_err(|retry_after| AccountError::Throttled { retry_after })
}
