//! Why a command has no answer.

use redis::{ErrorKind, RedisError, ServerErrorKind};

#[derive(Debug, thiserror::Error)]
pub enum RedisFailure {
    #[error("the sentinels have named no master yet")]
    NoServer,
    #[error("no answer within the deadline")]
    Deadline,
    #[error("not asked, because it failed a moment ago")]
    BreakerOpen,
    #[error("no connection was free within the deadline")]
    PoolExhausted,
    #[error(transparent)]
    Redis(#[from] RedisError),
}

impl RedisFailure {
    /// For the metric.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::BreakerOpen => "not_asked",
            Self::Deadline => "deadline",
            _ => "error",
        }
    }

    /// Whether the server refused because it only follows another one.
    pub(super) fn is_of_a_follower(&self) -> bool {
        matches!(self, Self::Redis(error) if error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly))
    }
}
