//! What can go wrong with a file, named by what the caller does about it.

use std::time::Duration;

use crate::edge::http::{ErrorCode, Problem};
use crate::features::channels::Denied;
use crate::ports::blobs::BlobError;
use crate::ports::throttle::ThrottleError;

#[derive(Debug, thiserror::Error)]
pub enum UploadsError {
    /// This cluster keeps no files.
    #[error("there is no store")]
    Disabled,
    #[error("there is no such file, or the caller may not know of it")]
    NotFound,
    #[error("the caller may not do this here")]
    Forbidden,
    /// The name is none, or too long.
    #[error("{0}")]
    BadName(String),
    /// Files of this type are not taken.
    #[error("{0}")]
    UnsupportedType(String),
    #[error("the file is not what it is said to be")]
    TypeMismatch,
    #[error("the file is empty")]
    Empty,
    #[error("the file is too large")]
    TooLarge,
    /// The client went, or said another length.
    #[error("the file did not arrive as a whole")]
    CutOff,
    #[error("the file took too long to arrive")]
    TooSlow,
    #[error("the caller's files take all the room there is for them")]
    QuotaExceeded,
    /// The sweep has taken it, or its account was deleted while it came.
    #[error("the file was given up while it came")]
    GivenUp,
    /// The caller's account was deleted.
    #[error("there is no such account any more")]
    NoAccount,
    #[error("the file is part of a message")]
    Attached,
    #[error("too many in too short a time")]
    TooMany { retry_after: Duration },
    /// This node has as many as it takes.
    #[error("too many at once")]
    Busy,
    /// Nothing was changed, and the same call may succeed later.
    #[error("cannot be decided now")]
    Unavailable,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl UploadsError {
    /// Whether the store was doing nothing with the file any more when that was seen.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::TypeMismatch | Self::Empty | Self::TooLarge | Self::CutOff | Self::GivenUp)
    }

    /// For the metric: how the receiving of a file ended.
    pub fn result(&self) -> &'static str {
        match self {
            Self::TypeMismatch | Self::UnsupportedType(_) => "wrong_type",
            Self::TooLarge => "too_large",
            Self::CutOff | Self::Empty => "cut_off",
            Self::TooSlow => "too_slow",
            Self::QuotaExceeded => "quota",
            Self::TooMany { .. } | Self::Busy => "busy",
            Self::BadName(_) | Self::NotFound | Self::Forbidden | Self::NoAccount | Self::Attached => {
                "refused"
            }
            Self::Disabled | Self::GivenUp | Self::Unavailable | Self::Database(_) => "unavailable",
        }
    }
}

impl From<Denied> for UploadsError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Hidden => Self::NotFound,
            Denied::Forbidden => Self::Forbidden,
        }
    }
}

impl From<ThrottleError> for UploadsError {
    fn from(error: ThrottleError) -> Self {
        tracing::warn!(%error, "uploads cannot be counted");
        Self::Unavailable
    }
}

impl From<BlobError> for UploadsError {
    fn from(error: BlobError) -> Self {
        tracing::warn!(%error, "the store of files cannot be used");
        Self::Unavailable
    }
}

impl From<UploadsError> for Problem {
    fn from(error: UploadsError) -> Self {
        match error {
            UploadsError::Disabled => ErrorCode::UploadsDisabled.into(),
            UploadsError::NotFound => ErrorCode::NotFound.into(),
            UploadsError::Forbidden => ErrorCode::Forbidden.into(),
            UploadsError::BadName(rule) => Self::new(ErrorCode::BadParameter).detail(rule),
            UploadsError::UnsupportedType(types) => Self::new(ErrorCode::UnsupportedFile).detail(types),
            UploadsError::TypeMismatch => ErrorCode::TypeMismatch.into(),
            UploadsError::Empty => Self::new(ErrorCode::InvalidBody).detail(error.to_string()),
            UploadsError::TooLarge => ErrorCode::BodyTooLarge.into(),
            UploadsError::CutOff => ErrorCode::IncompleteFile.into(),
            UploadsError::TooSlow => ErrorCode::RequestTimeout.into(),
            UploadsError::QuotaExceeded => ErrorCode::QuotaExceeded.into(),
            UploadsError::NoAccount => ErrorCode::Unauthenticated.into(),
            UploadsError::Attached => ErrorCode::FileAttached.into(),
            UploadsError::TooMany { retry_after } => Self::rate_limited(retry_after),
            UploadsError::Busy => Self::overloaded(),
            UploadsError::GivenUp | UploadsError::Unavailable => Self::unavailable(),
            UploadsError::Database(error) => error.into(),
        }
    }
}
