//! What can go wrong with an account, named by what the caller does about it.

use std::time::Duration;

use crate::edge::http::{ErrorCode, Problem};
use crate::ports::throttle::ThrottleError;

#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("the e-mail address has an account already")]
    EmailTaken,
    #[error("the username is taken")]
    UsernameTaken,
    /// Unknown account or wrong password: nobody may learn which.
    #[error("the account or the password is wrong")]
    BadCredentials,
    #[error("the refresh token is unknown, used, revoked or expired")]
    BadRefreshToken,
    /// The token is genuine, but its account is gone.
    #[error("the caller has no account any more")]
    NoAccount,
    #[error("there is no such user or session")]
    NotFound,
    #[error("too many attempts")]
    Throttled { retry_after: Duration },
    #[error("too many passwords wait to be hashed")]
    Overloaded,
    #[error(transparent)]
    Throttle(#[from] ThrottleError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::EmailTaken => ErrorCode::EmailTaken.into(),
            AccountError::UsernameTaken => ErrorCode::UsernameTaken.into(),
            AccountError::BadCredentials => ErrorCode::BadCredentials.into(),
            AccountError::BadRefreshToken => ErrorCode::BadRefreshToken.into(),
            AccountError::NoAccount => ErrorCode::Unauthenticated.into(),
            AccountError::NotFound => ErrorCode::NotFound.into(),
            AccountError::Throttled { retry_after } => Self::rate_limited(retry_after),
            AccountError::Overloaded => Self::new(ErrorCode::Overloaded).retry_after(Duration::from_secs(1)),
            // A limit that cannot be counted is not waived.
            AccountError::Throttle(_) => Self::unavailable(),
            AccountError::Database(error) => error.into(),
        }
    }
}
