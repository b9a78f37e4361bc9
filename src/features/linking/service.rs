//! Offers a code, confirms one, parts a couple.

use std::sync::Arc;
use std::time::Duration;

use crate::db::{PgConnection, PgPool};
use crate::delivery::dispatcher::Dispatcher;
use crate::delivery::outbox;
use crate::domain::clock::SharedClock;
use crate::domain::ids::{LinkSessionId, UserId};
use crate::edge::http::{ErrorCode, Problem};
use crate::features::linking::Config;
use crate::features::linking::code::LinkCode;
use crate::features::linking::events::{self, Party};
use crate::features::linking::model::{LinkSession, LinkState};
use crate::features::linking::repository;
use crate::ports::throttle::{Limit, Throttle, ThrottleError, Verdict};

/// How often a code is drawn anew because it is somebody else's already, which hardly ever happens.
const DRAWS_MAX: u32 = 3;
/// How often an unlinking starts again because the partner changed before both could be locked.
const ATTEMPTS_MAX: u32 = 5;

#[derive(Debug, thiserror::Error)]
pub enum LinkingError {
    #[error("the code is blank")]
    BlankCode,
    #[error("the code is the caller's own")]
    OwnCode,
    #[error("there is no such code")]
    UnknownCode,
    #[error("the code was confirmed already")]
    CodeUsed,
    #[error("the code has expired")]
    CodeExpired,
    #[error("too many wrong codes")]
    TooManyWrongCodes { retry_after: Duration },
    #[error("one of the two is linked already")]
    AlreadyLinked,
    #[error("the user has no partner")]
    NoPartner,
    #[error("there is no such session of this user")]
    NoSession,
    /// A genuine token of an account that does not exist any more.
    #[error("there is no such user")]
    UnknownUser,
    /// Nothing was changed, and the same call may succeed later.
    #[error("cannot be decided now")]
    Unavailable,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<ThrottleError> for LinkingError {
    fn from(error: ThrottleError) -> Self {
        tracing::warn!(%error, "wrong link codes cannot be counted");
        Self::Unavailable
    }
}

impl From<LinkingError> for Problem {
    fn from(error: LinkingError) -> Self {
        match error {
            LinkingError::BlankCode => ErrorCode::BlankLinkCode.into(),
            LinkingError::OwnCode => ErrorCode::OwnLinkCode.into(),
            LinkingError::UnknownCode => ErrorCode::UnknownLinkCode.into(),
            LinkingError::CodeUsed => ErrorCode::LinkCodeUsed.into(),
            LinkingError::CodeExpired => ErrorCode::LinkCodeExpired.into(),
            LinkingError::TooManyWrongCodes { retry_after } => Self::rate_limited(retry_after),
            LinkingError::AlreadyLinked => ErrorCode::AlreadyLinked.into(),
            LinkingError::NoPartner => ErrorCode::NoPartner.into(),
            LinkingError::NoSession => ErrorCode::NotFound.into(),
            LinkingError::UnknownUser => ErrorCode::Unauthenticated.into(),
            LinkingError::Unavailable => Self::unavailable(),
            LinkingError::Database(error) => error.into(),
        }
    }
}

pub struct Service {
    pool: PgPool,
    clock: SharedClock,
    dispatcher: Dispatcher,
    throttle: Arc<dyn Throttle>,
    config: Config,
}

impl Service {
    #[must_use]
    pub fn new(
        pool: PgPool,
        clock: SharedClock,
        dispatcher: Dispatcher,
        throttle: Arc<dyn Throttle>,
        config: Config,
    ) -> Arc<Self> {
        Arc::new(Self { pool, clock, dispatcher, throttle, config })
    }

    /// Offers to be linked, in place of any earlier offer of the same user.
    pub async fn offer(&self, owner: UserId) -> Result<(LinkSession, LinkCode), LinkingError> {
        let mut tx = self.pool.begin().await?;
        lock(&mut tx, &[owner]).await?;
        if repository::partner_of(&mut tx, owner).await?.is_some() {
            return Err(LinkingError::AlreadyLinked);
        }
        let now = self.clock.now();
        let session = LinkSession {
            id: LinkSessionId::generate(),
            owner,
            expires_at: now + Duration::from_secs(self.config.code_ttl_seconds.into()),
            confirmed_at: None,
        };
        for _ in 0..DRAWS_MAX {
            let code = LinkCode::generate();
            if repository::replace_session(&mut tx, &session, &code, now).await? {
                tx.commit().await?;
                return Ok((session, code));
            }
        }
        Err(LinkingError::Unavailable)
    }

    /// The state of an offer; only its owner may ask.
    pub async fn state(&self, owner: UserId, session: LinkSessionId) -> Result<LinkState, LinkingError> {
        let mut conn = self.pool.acquire().await?;
        let session = repository::session_of_owner(&mut conn, session, owner).await?;
        Ok(session.ok_or(LinkingError::NoSession)?.state(self.clock.now()))
    }

    /// Takes an offer back, unless it was confirmed.
    pub async fn cancel(&self, owner: UserId, session: LinkSessionId) -> Result<(), LinkingError> {
        let mut tx = self.pool.begin().await?;
        lock(&mut tx, &[owner]).await?;
        let found = repository::session_of_owner(&mut tx, session, owner).await?;
        if found.ok_or(LinkingError::NoSession)?.confirmed_at.is_some() {
            return Err(LinkingError::CodeUsed);
        }
        repository::delete_session(&mut tx, session).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Links the caller to the owner of the code that they typed.
    pub async fn confirm(&self, caller: UserId, typed: &str) -> Result<LinkSessionId, LinkingError> {
        if typed.trim().is_empty() {
            return Err(LinkingError::BlankCode);
        }
        let key = format!("link_code:{caller}");
        allowed(self.throttle.check(&key, self.wrong_codes()).await?)?;

        let result = match LinkCode::parse(typed) {
            Some(code) => self.confirm_code(caller, &code).await,
            None => Err(LinkingError::UnknownCode),
        };
        if matches!(result, Err(LinkingError::UnknownCode)) {
            // Refused, although the check passed, when others of the same user failed at the same time.
            allowed(self.throttle.hit(&key, self.wrong_codes()).await?)?;
        }
        result
    }

    fn wrong_codes(&self) -> Limit {
        Limit {
            max: self.config.wrong_codes_max,
            window: Duration::from_secs(self.config.wrong_codes_window_seconds.into()),
        }
    }

    async fn confirm_code(&self, caller: UserId, code: &LinkCode) -> Result<LinkSessionId, LinkingError> {
        let mut tx = self.pool.begin().await?;
        let owner = repository::session_by_code(&mut tx, code).await?.ok_or(LinkingError::UnknownCode)?.owner;
        if owner == caller {
            return Err(LinkingError::OwnCode);
        }
        let [caller, owner] = lock_pair(&mut tx, caller, owner).await?;

        // Only now is anything certain: others may have confirmed, cancelled or linked during the wait.
        let now = self.clock.now();
        let session = repository::session_by_code(&mut tx, code).await?.ok_or(LinkingError::UnknownCode)?;
        match session.state(now) {
            LinkState::Pending => {}
            LinkState::Confirmed => return Err(LinkingError::CodeUsed),
            LinkState::Expired => return Err(LinkingError::CodeExpired),
        }
        for party in [&caller, &owner] {
            if repository::partner_of(&mut tx, party.id).await?.is_some() {
                return Err(LinkingError::AlreadyLinked);
            }
        }
        repository::confirm_session(&mut tx, session.id, caller.id, now).await?;
        repository::link(&mut tx, caller.id, owner.id, now).await?;
        let committed = outbox::append(&mut tx, events::linked(&caller, &owner, now)).await?;
        tx.commit().await?;

        self.dispatcher.dispatch(committed).await;
        metrics::counter!("fanlight_linking_changes_total", "change" => "linked").increment(1);
        Ok(session.id)
    }

    /// Parts the caller and their partner, on both sides.
    pub async fn unlink(&self, caller: UserId) -> Result<(), LinkingError> {
        for _ in 0..ATTEMPTS_MAX {
            let mut tx = self.pool.begin().await?;
            let partner = repository::partner_of(&mut tx, caller).await?.ok_or(LinkingError::NoPartner)?;
            let [me, other] = lock_pair(&mut tx, caller, partner).await?;
            if repository::partner_of(&mut tx, caller).await? != Some(partner) {
                continue; // Parted, and perhaps linked anew, during the wait: the wrong two are locked.
            }
            let now = self.clock.now();
            repository::unlink(&mut tx, me.id, other.id).await?;
            let committed = outbox::append(&mut tx, events::unlinked(&me, &other, now)).await?;
            tx.commit().await?;

            self.dispatcher.dispatch(committed).await;
            metrics::counter!("fanlight_linking_changes_total", "change" => "unlinked").increment(1);
            return Ok(());
        }
        Err(LinkingError::Unavailable)
    }
}

fn allowed(verdict: Verdict) -> Result<(), LinkingError> {
    verdict.allowed("link_code").map_err(|retry_after| LinkingError::TooManyWrongCodes { retry_after })
}

async fn lock(conn: &mut PgConnection, users: &[UserId]) -> Result<Vec<Party>, LinkingError> {
    let parties = repository::lock_users(conn, users).await?;
    if parties.len() == users.len() { Ok(parties) } else { Err(LinkingError::UnknownUser) }
}

/// Both users, locked in the order of their ids, returned in the order they were named.
async fn lock_pair(conn: &mut PgConnection, one: UserId, other: UserId) -> Result<[Party; 2], LinkingError> {
    let mut parties = lock(conn, &[one, other]).await?;
    parties.sort_by_key(|party| party.id != one);
    parties.try_into().map_err(|_| LinkingError::UnknownUser)
}
