//! What can go wrong with a conversation, named by what the caller does about it.

use std::time::Duration;

use crate::edge::http::{ErrorCode, Problem};
use crate::features::channels::access::Denied;
use crate::ports::throttle::ThrottleError;

#[derive(Debug, thiserror::Error)]
pub enum ChannelsError {
    /// There is no such conversation, or the caller may not know of it.
    #[error("there is no such conversation or member")]
    NotFound,
    #[error("the caller may not do this here")]
    Forbidden,
    /// The only owner cannot go: nobody would be left to decide.
    #[error("the conversation would have no owner")]
    LastOwner,
    #[error("there is no such user")]
    UnknownUser,
    #[error("a direct conversation needs two people")]
    WithOneself,
    #[error("another channel has this name")]
    NameTaken,
    #[error("the user is in it already")]
    AlreadyMember,
    #[error("a group is always private")]
    AlwaysPrivate,
    #[error("the conversation takes no more members")]
    Full,
    #[error("somebody is in too many conversations")]
    TooManyMemberships,
    #[error("the caller takes in too many people, or changes too much")]
    TooMany { retry_after: Duration },
    /// Nothing was changed, and the same call may succeed later.
    #[error("cannot be decided now")]
    Unavailable,
    /// A genuine token of an account that does not exist any more.
    #[error("the caller has no account any more")]
    NoAccount,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Denied> for ChannelsError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Hidden => Self::NotFound,
            Denied::Forbidden => Self::Forbidden,
        }
    }
}

impl From<ThrottleError> for ChannelsError {
    fn from(error: ThrottleError) -> Self {
        tracing::warn!(%error, "invitations and changes cannot be counted");
        Self::Unavailable
    }
}

impl From<ChannelsError> for Problem {
    fn from(error: ChannelsError) -> Self {
        match error {
            ChannelsError::NotFound => ErrorCode::NotFound.into(),
            ChannelsError::Forbidden => ErrorCode::Forbidden.into(),
            ChannelsError::LastOwner => ErrorCode::LastOwner.into(),
            ChannelsError::UnknownUser => ErrorCode::UnknownUser.into(),
            ChannelsError::WithOneself => ErrorCode::OwnConversation.into(),
            ChannelsError::NameTaken => ErrorCode::ChannelNameTaken.into(),
            ChannelsError::AlreadyMember => ErrorCode::AlreadyMember.into(),
            ChannelsError::AlwaysPrivate => ErrorCode::AlwaysPrivate.into(),
            ChannelsError::Full => ErrorCode::ChannelFull.into(),
            ChannelsError::TooManyMemberships => ErrorCode::TooManyChannels.into(),
            ChannelsError::TooMany { retry_after } => Self::rate_limited(retry_after),
            ChannelsError::Unavailable => Self::unavailable(),
            ChannelsError::NoAccount => ErrorCode::Unauthenticated.into(),
            ChannelsError::Database(error) => error.into(),
        }
    }
}
