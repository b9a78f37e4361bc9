//! What features do when a client says so: each command is handled by whoever has its name, and answered with `OK` or
//! `ERROR`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::delivery::budget::Held;
use crate::delivery::mailbox::Mailbox;
use crate::edge::http::problem::{ErrorCode, Problem};
use crate::edge::ws::json::FlatObject;
use crate::edge::ws::protocol::{self, CommandError, CommandErrorCode, Reply};

/// A feature's commands.
#[async_trait]
pub trait Handler: Send + Sync {
    /// The `type`s that it handles.
    fn names(&self) -> &'static [&'static str];

    /// Does what the client said. Its next command waits for that, its events do not.
    async fn handle(&self, call: &Call) -> Result<Answer, Refusal>;

    /// A connection that has said something has ended; its last command has been handled.
    fn ended(&self, mailbox: &Arc<Mailbox>);
}

/// What a client gets for its command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Frame(Bytes),
    /// It has it already, or needs none.
    Given,
}

/// One command of a client.
pub struct Call {
    pub mailbox: Arc<Mailbox>,
    /// Its `type`, as the handler names it.
    pub name: &'static str,
    text: String,
    /// The text waits for its turn, and counts as long.
    _held: Held,
}

impl Call {
    #[must_use]
    pub fn new(mailbox: &Arc<Mailbox>, name: &'static str, text: String) -> Self {
        Self { mailbox: Arc::clone(mailbox), name, _held: mailbox.hold(text.len()), text }
    }

    /// # Errors
    /// When the text is no command; whoever gets a call need not fear that.
    pub fn fields(&self) -> Result<Fields<'_>, Refusal> {
        Fields::read(&self.text)
    }

    /// `OK`, and what else there is to say.
    #[must_use]
    pub fn ok(&self, fields: &impl Serialize) -> Bytes {
        protocol::ok_with(self.reference(), fields)
    }

    /// `OK` and nothing else, if the client wants to know.
    #[must_use]
    pub fn ok_if_asked(&self) -> Answer {
        self.reference().map_or(Answer::Given, |it| Answer::Frame(Reply::Ok { r#ref: Some(it) }.frame()))
    }

    /// `ERROR`.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> Bytes {
        refusal.frame(self.reference())
    }

    fn reference(&self) -> Option<&RawValue> {
        let object = FlatObject::read(&self.text)?;
        protocol::reference(&object).ok().flatten()
    }
}

/// The fields of a command, by their names in camelCase; `snake_case` is understood as well.
pub struct Fields<'a>(FlatObject<'a>);

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Result<Self, Refusal> {
        FlatObject::read(text).map(Self).ok_or_else(|| CommandError::Malformed.into())
    }

    /// # Errors
    /// When it is absent, null, or something else.
    pub fn needed<T: Deserialize<'a>>(&self, name: &'static str) -> Result<T, Refusal> {
        self.optional(name)?.ok_or_else(|| CommandError::InvalidField(name).into())
    }

    /// Null is as good as absent.
    ///
    /// # Errors
    /// When it is there and something else, or there twice.
    pub fn optional<T: Deserialize<'a>>(&self, name: &'static str) -> Result<Option<T>, Refusal> {
        let invalid = |_| Refusal::from(CommandError::InvalidField(name));
        let found: Option<T> = self.0.field(name).map_err(invalid)?;
        let other = snake_case(name);
        if other == name {
            return Ok(found);
        }
        match (found, self.0.field(&other).map_err(invalid)?) {
            (Some(_), Some(_)) => Err(CommandError::InvalidField(name).into()),
            (found, other) => Ok(found.or(other)),
        }
    }
}

fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Why a command is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: CommandErrorCode,
    message: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    pub fn new(code: CommandErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    #[must_use]
    pub fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    pub(super) fn frame(self, reference: Option<&RawValue>) -> Bytes {
        let Self { code, message, retry_after } = self;
        let retry_after_ms = retry_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        Reply::Error { code, message, retry_after_ms, r#ref: reference }.frame()
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        Self::new(error.code(), error.message())
    }
}

/// What a request over HTTP would be answered.
impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let code = match problem.code().status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => CommandErrorCode::NotFound,
            StatusCode::FORBIDDEN => CommandErrorCode::Forbidden,
            StatusCode::CONFLICT => CommandErrorCode::Conflict,
            StatusCode::TOO_MANY_REQUESTS => CommandErrorCode::RateLimited,
            StatusCode::SERVICE_UNAVAILABLE => CommandErrorCode::Unavailable,
            status if status.is_server_error() => CommandErrorCode::Internal,
            _ => CommandErrorCode::InvalidCommand,
        };
        Self { code, message: problem.message().to_owned(), retry_after: problem.retried_after() }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Problem::new(code).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_either_name_but_not_by_both() {
        let read = |text: &'static str| {
            let fields = Fields::read(text).unwrap();
            (fields.needed::<i64>("channelId").ok(), fields.optional::<i64>("since").ok())
        };
        assert_eq!(read(r#"{"channelId":1,"since":2}"#), (Some(1), Some(Some(2))));
        assert_eq!(read(r#"{"channel_id":1,"since":null}"#), (Some(1), Some(None)));
        assert_eq!(read(r#"{"channel_id":1,"channelId":1}"#), (None, Some(None)));
        assert_eq!(read(r#"{"channelId":"1","since":"2"}"#), (None, None));
        assert_eq!(read("{}"), (None, Some(None)));
    }

    #[test]
    fn a_refusal_says_what_the_answer_to_a_request_would() {
        for (problem, code) in [
            (ErrorCode::NotFound, CommandErrorCode::NotFound),
            (ErrorCode::Forbidden, CommandErrorCode::Forbidden),
            (ErrorCode::EmailTaken, CommandErrorCode::Conflict),
            (ErrorCode::InvalidBody, CommandErrorCode::InvalidCommand),
            (ErrorCode::Internal, CommandErrorCode::Internal),
        ] {
            assert_eq!(Refusal::from(problem).code, code);
        }
        let limited = Refusal::from(Problem::rate_limited(Duration::from_secs(2)).detail("Slower"));
        let frame = limited.frame(None);
        let expected = r#"{"type":"ERROR","code":"rate_limited","message":"Slower","retryAfterMs":2000}"#;
        assert_eq!(&frame[2..], expected.as_bytes());
    }
}
