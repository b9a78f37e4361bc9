//! What can go wrong with preferences, named by what the caller does about it.

use std::time::Duration;

use crate::db;
use crate::edge::http::{ErrorCode, Problem};
use crate::features::channels::Denied;
use crate::ports::throttle::ThrottleError;

#[derive(Debug, thiserror::Error)]
pub enum NotificationsError {
    /// There is no such conversation, or the caller may not know of it.
    #[error("there is no such conversation")]
    NotFound,
    #[error("the caller is not a member")]
    Forbidden,
    #[error("too many in too short a time")]
    TooMany { retry_after: Duration },
    /// A genuine token of an account that does not exist any more.
    #[error("the caller has no account any more")]
    NoAccount,
    /// Nothing was changed, and the same call may succeed later.
    #[error("cannot be decided now")]
    Unavailable,
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for NotificationsError {
    fn from(error: sqlx::Error) -> Self {
        match db::violated_constraint(&error) {
            // Taken out at this very moment.
            Some("channel_preferences_member_fkey") => Self::Forbidden,
            _ => Self::Database(error),
        }
    }
}

impl From<Denied> for NotificationsError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Hidden => Self::NotFound,
            Denied::Forbidden => Self::Forbidden,
        }
    }
}

impl From<ThrottleError> for NotificationsError {
    fn from(error: ThrottleError) -> Self {
        tracing::warn!(%error, "changes of preferences cannot be counted");
        Self::Unavailable
    }
}

impl From<NotificationsError> for Problem {
    fn from(error: NotificationsError) -> Self {
        match error {
            NotificationsError::NotFound => ErrorCode::NotFound.into(),
            NotificationsError::Forbidden => ErrorCode::Forbidden.into(),
            NotificationsError::TooMany { retry_after } => Self::rate_limited(retry_after),
            NotificationsError::NoAccount => ErrorCode::Unauthenticated.into(),
            NotificationsError::Unavailable => Self::unavailable(),
            NotificationsError::Database(error) => error.into(),
        }
    }
}
