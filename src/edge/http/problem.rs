//! What a client is told when something is wrong: RFC 9457, from one table.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::db;
use crate::domain::random;

const RETRY_AFTER_LEAST: Duration = Duration::from_secs(1);
const RETRY_AFTER_SPREAD: Duration = Duration::from_secs(9);

macro_rules! error_codes {
    ($($name:ident => $status:ident, $code:literal, $title:literal;)*) => {
        /// Every error the API answers with: its status, its stable code, its title.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ErrorCode { $(#[doc = $title] $name,)* }

        impl ErrorCode {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The stable machine-readable word in `error`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

error_codes! {
    // 400
    MalformedBody => BAD_REQUEST, "malformed_body", "The body is not valid JSON";
    BadParameter => BAD_REQUEST, "bad_parameter", "A parameter is not valid";
    BlankLinkCode => BAD_REQUEST, "blank_link_code", "The link code is blank";
    OwnLinkCode => BAD_REQUEST, "own_link_code", "One cannot link to oneself";
    OwnConversation => BAD_REQUEST, "own_conversation", "A direct conversation needs two people";
    IncompleteFile => BAD_REQUEST, "incomplete_file", "The file did not arrive as a whole";
    BadUpgrade => BAD_REQUEST, "bad_upgrade", "The WebSocket handshake is not valid";
    // 401
    Unauthenticated => UNAUTHORIZED, "unauthenticated", "A valid access token is needed";
    BadCredentials => UNAUTHORIZED, "bad_credentials", "The account or the password is wrong";
    BadRefreshToken => UNAUTHORIZED, "bad_refresh_token", "The refresh token is not valid";
    // 403
    Forbidden => FORBIDDEN, "forbidden", "This is not yours to do";
    LastOwner => FORBIDDEN, "last_owner", "The only owner stays the owner";
    ForeignOrigin => FORBIDDEN, "foreign_origin", "Requests from this origin are not allowed";
    // 404
    NotFound => NOT_FOUND, "not_found", "There is no such resource";
    NoPartner => NOT_FOUND, "no_partner", "You are not linked to anybody";
    UnknownLinkCode => NOT_FOUND, "unknown_link_code", "There is no such link code";
    UnknownUser => NOT_FOUND, "unknown_user", "There is no such user";
    UnknownUpload => NOT_FOUND, "unknown_upload", "No file of yours that could be attached has this id";
    // 405, 406, 408
    MethodNotAllowed => METHOD_NOT_ALLOWED, "method_not_allowed", "This resource has no such method";
    RequestTimeout => REQUEST_TIMEOUT, "request_timeout", "The request took too long to arrive";
    // 409
    EmailTaken => CONFLICT, "email_taken", "This e-mail address has an account already";
    UsernameTaken => CONFLICT, "username_taken", "This username is taken";
    AlreadyLinked => CONFLICT, "already_linked", "One of the two is linked already";
    LinkCodeUsed => CONFLICT, "link_code_used", "This link code was confirmed already";
    ChannelNameTaken => CONFLICT, "channel_name_taken", "Another channel has this name";
    AlreadyMember => CONFLICT, "already_member", "This user is a member already";
    AlwaysPrivate => CONFLICT, "always_private", "A group is always private";
    ChannelFull => CONFLICT, "channel_full", "The channel takes no more members";
    TooManyChannels => CONFLICT, "too_many_channels", "A user cannot be in more channels";
    KeyReused => CONFLICT, "key_reused", "This key is another message's";
    MessageDeleted => CONFLICT, "message_deleted", "The message was deleted";
    QuotaExceeded => CONFLICT, "quota_exceeded", "Your files take all the room there is for them";
    FileAttached => CONFLICT, "file_attached", "The file is part of a message";
    TooManyReactions => CONFLICT, "too_many_reactions", "The message takes no more reactions";
    // 410
    LinkCodeExpired => GONE, "link_code_expired", "This link code has expired";
    // 413, 415, 416, 422, 426
    BodyTooLarge => PAYLOAD_TOO_LARGE, "body_too_large", "The body is too large";
    UnsupportedMediaType => UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Send application/json";
    UnsupportedFile => UNSUPPORTED_MEDIA_TYPE, "unsupported_file", "Files of this type are not taken";
    RangeNotSatisfiable => RANGE_NOT_SATISFIABLE, "range_not_satisfiable", "The file has no such part";
    TypeMismatch => UNPROCESSABLE_ENTITY, "type_mismatch", "The file is not what it is said to be";
    InvalidBody => UNPROCESSABLE_ENTITY, "invalid_body", "The body does not have the expected form";
    UpgradeRequired => UPGRADE_REQUIRED, "upgrade_required", "This resource speaks WebSocket version 13";
    // 429
    RateLimited => TOO_MANY_REQUESTS, "rate_limited", "Too many attempts";
    TooManyConnections => TOO_MANY_REQUESTS, "too_many_connections", "Too many connections from this address";
    // 5xx
    Internal => INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side";
    Unavailable => SERVICE_UNAVAILABLE, "unavailable", "The service cannot answer right now";
    UploadsDisabled => SERVICE_UNAVAILABLE, "uploads_disabled", "This cluster keeps no files";
    Overloaded => SERVICE_UNAVAILABLE, "overloaded", "The service has more work than it can take";
}

/// An error answer. `detail` is for a developer who reads it, `error` for the program.
#[derive(Clone, Debug)]
pub struct Problem {
    code: ErrorCode,
    detail: Option<String>,
    retry_after: Option<Duration>,
}

impl Problem {
    #[must_use]
    pub fn new(code: ErrorCode) -> Self {
        Self { code, detail: None, retry_after: None }
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Tells the client when to come back, in whole seconds, at least one.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    #[must_use]
    pub fn rate_limited(retry_after: Duration) -> Self {
        Self::new(ErrorCode::RateLimited).retry_after(retry_after)
    }

    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(ErrorCode::Unavailable).retry_after(Duration::from_secs(1))
    }

    /// For somebody in a crowd: everybody is told another time, so that they do not all come back at once.
    #[must_use]
    pub fn come_back_later(code: ErrorCode) -> Self {
        Self::new(code).retry_after(RETRY_AFTER_LEAST + random::jitter(RETRY_AFTER_SPREAD))
    }

    #[must_use]
    pub fn overloaded() -> Self {
        Self::come_back_later(ErrorCode::Overloaded)
    }

    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// For a developer who reads it.
    #[must_use]
    pub fn message(&self) -> &str {
        self.detail.as_deref().unwrap_or(self.code.title())
    }

    /// When it is worth another try, if that is known.
    #[must_use]
    pub fn retried_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl From<ErrorCode> for Problem {
    fn from(code: ErrorCode) -> Self {
        Self::new(code)
    }
}

/// Postgres is away: 503. Anything else that a feature did not translate is a bug of ours: 500, logged.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if db::is_unavailable(&error) {
            tracing::warn!(%error, "postgres is unavailable");
            return Self::unavailable();
        }
        tracing::error!(%error, "a statement failed");
        Self::new(ErrorCode::Internal)
    }
}

/// The body of an error answer, `application/problem+json`.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `urn:fanlight:error:<error>`
    r#type: String,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// A stable, machine-readable code.
    error: &'static str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = ProblemBody {
            r#type: format!("urn:fanlight:error:{}", self.code.as_str()),
            title: self.code.title(),
            status: status.as_u16(),
            detail: self.detail,
            error: self.code.as_str(),
        };
        let json = serde_json::to_vec(&body).expect("a problem is a plain struct of strings");
        let mut response = (status, json).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after) = self.retry_after {
            let seconds = after.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::try_from(seconds.to_string()) {
                headers.insert(RETRY_AFTER, value);
            }
        }
        if status == StatusCode::UPGRADE_REQUIRED {
            // RFC 9110 §15.5.22 and RFC 6455 §4.2.2: what to upgrade to.
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
