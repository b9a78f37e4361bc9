//! Why a command is not taken, or not done.

use serde::Serialize;
use utoipa::ToSchema;

/// A command that is not one, and what to say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    Malformed,
    Unknown,
    InvalidField(&'static str),
}

/// The stable code of an `ERROR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandErrorCode {
    /// It is not one JSON object with a `type`, nests too deeply, or has a key twice.
    MalformedCommand,
    UnknownCommand,
    /// A field is missing or wrong.
    InvalidCommand,
    /// The seq was not sent on this connection.
    InvalidAck,
    /// What it names does not exist, or is none of this user's business.
    NotFound,
    /// This user may not do that.
    Forbidden,
    /// It does not fit what is there.
    Conflict,
    /// Too many of these: again after `retryAfterMs`.
    RateLimited,
    /// This connection subscribes to as many rooms as one may.
    TooManySubscriptions,
    /// One connection may not watch so many users.
    TooManyWatched,
    /// So many commands of this connection wait that this one is not taken.
    TooManyCommands,
    /// Not now: again after `retryAfterMs`.
    Unavailable,
    /// A bug of ours.
    Internal,
}

impl CommandError {
    pub(super) fn code(self) -> CommandErrorCode {
        match self {
            Self::Malformed => CommandErrorCode::MalformedCommand,
            Self::Unknown => CommandErrorCode::UnknownCommand,
            Self::InvalidField(_) => CommandErrorCode::InvalidCommand,
        }
    }

    /// For the metric.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::InvalidField(_) => "invalid",
        }
    }

    pub(super) fn message(self) -> String {
        match self {
            Self::Malformed => "A command is one JSON object with a `type`".into(),
            Self::Unknown => "This command is not known".into(),
            Self::InvalidField(field) => format!("This command needs a valid `{field}`"),
        }
    }
}
