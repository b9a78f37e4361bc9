//! What can go wrong with a message, named by what the caller does about it.

use std::time::Duration;

use crate::edge::http::{ErrorCode, Problem};
use crate::features::channels::Denied;
use crate::ports::throttle::ThrottleError;

#[derive(Debug, thiserror::Error)]
pub enum MessagesError {
    /// There is no such message or conversation, or the caller may not know of it.
    #[error("there is no such message or conversation")]
    NotFound,
    #[error("the caller may not do this here")]
    Forbidden,
    /// A field is wrong: which one, and what it may be.
    #[error("{0}")]
    Invalid(String),
    /// One of the files is not the author's, not there, or another message's.
    #[error("no such file can be attached")]
    UnknownUpload,
    #[error("neither an emoji nor a short name of one")]
    NoEmoji,
    /// The key was another message's, with other content.
    #[error("another message was sent with this key")]
    KeyReused,
    #[error("the message was deleted")]
    Deleted,
    #[error("the message takes no more reactions")]
    TooManyReactions,
    #[error("too many in too short a time")]
    TooMany { retry_after: Duration },
    /// Nothing was changed, and the same call may succeed later.
    #[error("cannot be decided now")]
    Unavailable,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Denied> for MessagesError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Hidden => Self::NotFound,
            Denied::Forbidden => Self::Forbidden,
        }
    }
}

impl From<ThrottleError> for MessagesError {
    fn from(error: ThrottleError) -> Self {
        tracing::warn!(%error, "messages cannot be counted");
        Self::Unavailable
    }
}

impl From<MessagesError> for Problem {
    fn from(error: MessagesError) -> Self {
        match error {
            MessagesError::NotFound => ErrorCode::NotFound.into(),
            MessagesError::Forbidden => ErrorCode::Forbidden.into(),
            MessagesError::Invalid(rule) => Self::new(ErrorCode::InvalidBody).detail(rule),
            MessagesError::UnknownUpload => ErrorCode::UnknownUpload.into(),
            MessagesError::NoEmoji => Self::new(ErrorCode::BadParameter).detail(error.to_string()),
            MessagesError::KeyReused => ErrorCode::KeyReused.into(),
            MessagesError::Deleted => ErrorCode::MessageDeleted.into(),
            MessagesError::TooManyReactions => ErrorCode::TooManyReactions.into(),
            MessagesError::TooMany { retry_after } => Self::rate_limited(retry_after),
            MessagesError::Unavailable => Self::unavailable(),
            MessagesError::Database(error) => error.into(),
        }
    }
}
