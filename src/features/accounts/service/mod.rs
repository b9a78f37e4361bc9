//! What one can do with an account: register, log in, change the profile. Sessions are in `sessions`.

use std::sync::Arc;

use crate::db::PgPool;
use crate::domain::clock::SharedClock;
use crate::domain::ids::UserId;
use crate::domain::tokens::KeyRing;
use crate::edge::http::addresses::network;
use crate::edge::http::paging;
use crate::features::accounts::config::Config;
use crate::features::accounts::error::AccountError;
use crate::features::accounts::limits::{Limits, LoginKeys};
use crate::features::accounts::model::{
    Client, Credentials, NewAccount, Opened, ProfileChange, PublicUser, User,
};
use crate::features::accounts::passwords::{Hasher, Verdict};
use crate::features::accounts::repository::users;
use crate::features::accounts::revocation::SessionRevoked;
use crate::ports::throttle::Throttle;

mod sessions;

/// Tells every node that a session has ended. Called after the commit; must not block.
pub type Announce = Arc<dyn Fn(SessionRevoked) + Send + Sync>;

/// What the service is made of.
pub struct Settings {
    pub pool: PgPool,
    pub clock: SharedClock,
    pub keys: Arc<KeyRing>,
    pub throttle: Arc<dyn Throttle>,
    pub announce: Announce,
    /// Whether cookies are for https only; false on a developer's machine alone.
    pub secure_cookies: bool,
    pub config: Config,
}

pub struct Service {
    pool: PgPool,
    clock: SharedClock,
    keys: Arc<KeyRing>,
    announce: Announce,
    secure_cookies: bool,
    config: Config,
    limits: Limits,
    hasher: Hasher,
}

impl Service {
    /// Hashes one password, which takes a moment.
    ///
    /// # Errors
    /// When Argon2 does not know the configured parameters.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        let Settings { pool, clock, keys, throttle, announce, secure_cookies, config } = settings;
        let limits = Limits::new(throttle, &config);
        let hasher = Hasher::new(&config)?;
        Ok(Self { pool, clock, keys, announce, secure_cookies, config, limits, hasher })
    }

    #[must_use]
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    #[must_use]
    pub fn secure_cookies(&self) -> bool {
        self.secure_cookies
    }

    /// Makes an account.
    ///
    /// # Errors
    /// When the e-mail address or the username is taken, or too many accounts come from this client.
    pub async fn register(&self, account: NewAccount, client: &Client) -> Result<User, AccountError> {
        let (user, hash) = self.prepare(account, client).await?;
        users::insert(&self.pool, &user, &hash).await?;
        Ok(user)
    }

    /// Makes an account and logs in to it.
    ///
    /// # Errors
    /// As [`Service::register`].
    pub async fn sign_up(&self, account: NewAccount, client: &Client) -> Result<Opened, AccountError> {
        let (user, hash) = self.prepare(account, client).await?;
        let mut tx = self.pool.begin().await?;
        users::insert(&mut *tx, &user, &hash).await?;
        let (opened, _) = self.open_session(&mut tx, user, client).await?;
        tx.commit().await?;
        Ok(opened)
    }

    async fn prepare(&self, account: NewAccount, client: &Client) -> Result<(User, String), AccountError> {
        // A request that finds no room is not counted as an attempt.
        let place = self.hasher.place()?;
        self.limits.count_registration(client.address).await?;
        let hash = place.hash(account.password).await;
        let now = self.clock.now();
        let user = User {
            id: UserId::generate(),
            username: account.username,
            email: account.email.trim().to_ascii_lowercase(),
            full_name: account.full_name,
            display_name: account.display_name,
            phone_number: None,
            avatar_url: None,
            avatar_color: None,
            created_at: now,
            updated_at: now,
        };
        Ok((user, hash))
    }

    /// Opens a session. An unknown account takes the same way as a wrong password, in the same time.
    ///
    /// # Errors
    /// [`AccountError::BadCredentials`], without saying what is wrong; when there were too many attempts; and
    /// when there is no room to hash the password, which then is not counted as an attempt.
    pub async fn log_in(&self, credentials: Credentials, client: &Client) -> Result<Opened, AccountError> {
        let result = self.try_log_in(credentials, client).await;
        let outcome = match &result {
            Ok(_) => "success",
            Err(AccountError::BadCredentials) => "bad_credentials",
            Err(AccountError::Throttled { .. }) => "throttled",
            Err(AccountError::Overloaded) => "overloaded",
            Err(_) => "error",
        };
        metrics::counter!("fanlight_accounts_logins_total", "outcome" => outcome).increment(1);
        result
    }

    async fn try_log_in(&self, credentials: Credentials, client: &Client) -> Result<Opened, AccountError> {
        let Credentials { account, password } = credentials;
        self.limits.check_address(client.address).await?;
        let place = self.hasher.place()?;
        let network = network(client.address).to_string();
        let found = users::find_login(&self.pool, &account, &network).await?;
        let keys = LoginKeys::new(&account, found.as_ref().map(|login| login.user), client.address);
        let is_known_address = found.as_ref().is_some_and(|login| login.is_known_address);
        self.limits.count_attempt(&keys, is_known_address).await?;

        let stored = found.as_ref().map_or_else(|| self.hasher.dummy(), |login| &login.password_hash);
        let verdict = place.verify(password, stored.to_owned()).await;
        let (Some(login), Verdict::Right | Verdict::RightAndRehashed(_)) = (found, &verdict) else {
            self.limits.count_failure(&keys).await?;
            return Err(AccountError::BadCredentials);
        };
        self.limits.count_success(&keys).await?;
        if let Verdict::RightAndRehashed(hash) = verdict {
            users::replace_hash(&self.pool, login.user, &login.password_hash, &hash).await?;
        }

        let mut tx = self.pool.begin().await?;
        let user = users::find(&mut *tx, login.user).await?.ok_or(AccountError::BadCredentials)?;
        let (opened, ended) = self.open_session(&mut tx, user, client).await?;
        tx.commit().await?;
        self.announce_all(&ended);
        Ok(opened)
    }

    /// # Errors
    /// When the account is gone.
    pub async fn profile(&self, user: UserId) -> Result<User, AccountError> {
        users::find(&self.pool, user).await?.ok_or(AccountError::NoAccount)
    }

    /// # Errors
    /// When the new e-mail address or username is taken, or the account is gone.
    pub async fn update_profile(&self, user: UserId, change: ProfileChange) -> Result<User, AccountError> {
        let mut tx = self.pool.begin().await?;
        let mut profile = users::lock(&mut tx, user).await?.ok_or(AccountError::NoAccount)?;
        change.apply(&mut profile);
        profile.updated_at = self.clock.now();
        users::update(&mut tx, &profile).await?;
        tx.commit().await?;
        Ok(profile)
    }

    /// # Errors
    /// When nobody has this username.
    pub async fn find_user(&self, username: &str) -> Result<PublicUser, AccountError> {
        users::find_public(&self.pool, username).await?.ok_or(AccountError::NotFound)
    }

    /// One page of the people whose names contain `text`, and whether there are more.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn search_users(
        &self,
        text: &str,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<(Vec<PublicUser>, bool), AccountError> {
        let mut found = users::search(&self.pool, text, after, paging::one_more(limit)).await?;
        let has_more = paging::cut(&mut found, limit);
        Ok((found, has_more))
    }
}
