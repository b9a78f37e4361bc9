//! What FCM answers, byte for byte as far as it is known: texts, statuses and details of the real service.
//!
//! Sources: <https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode>, and bodies that people quoted in
//! firebase-admin-node #218, firebase-admin-java #1064 and firebase-admin-go #719.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const FCM_ERROR: &str = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
const APNS_ERROR: &str = "type.googleapis.com/google.firebase.fcm.v1.ApnsError";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
const QUOTA_FAILURE: &str = "type.googleapis.com/google.rpc.QuotaFailure";
const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";

/// A row of the error table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    Accepted,
    /// A wrong message: 400 that names no token.
    InvalidArgument,
    /// 400 that names `message.token`.
    InvalidToken,
    /// 400 as FCM answers a malformed token since 2021: no field named.
    MalformedToken,
    Unauthenticated,
    ThirdPartyAuthError,
    SenderIdMismatch,
    PermissionDenied,
    Unregistered,
    /// The detail-less 404 of a wrong project.
    NotFound,
    /// 429 with FCM's own code, of no particular target.
    QuotaExceeded,
    /// 429 for one device.
    DeviceRateExceeded,
    /// 429 of the project's quota, which has no FCM code.
    ResourceExhausted,
    Internal,
    Unavailable,
    UnspecifiedError,
}

impl Code {
    /// As the log shows it: FCM's code, or the API's status where there is none.
    pub(super) fn outcome(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::DeviceRateExceeded => "QUOTA_EXCEEDED",
            _ => self.fcm_code().unwrap_or(self.status_and_text().1),
        }
    }

    fn fcm_code(self) -> Option<&'static str> {
        Some(match self {
            Self::InvalidArgument | Self::InvalidToken | Self::MalformedToken => "INVALID_ARGUMENT",
            Self::ThirdPartyAuthError => "THIRD_PARTY_AUTH_ERROR",
            Self::SenderIdMismatch => "SENDER_ID_MISMATCH",
            Self::Unregistered => "UNREGISTERED",
            Self::QuotaExceeded | Self::DeviceRateExceeded => "QUOTA_EXCEEDED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::UnspecifiedError => "UNSPECIFIED_ERROR",
            Self::Accepted
            | Self::Unauthenticated
            | Self::PermissionDenied
            | Self::NotFound
            | Self::ResourceExhausted => return None,
        })
    }

    fn status_and_text(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Accepted => (200, "OK", ""),
            Self::InvalidArgument | Self::InvalidToken => {
                (400, "INVALID_ARGUMENT", "Request contains an invalid argument.")
            }
            Self::MalformedToken => {
                (400, "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token")
            }
            Self::Unauthenticated => (
                401,
                "UNAUTHENTICATED",
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other \
                 valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
            ),
            Self::ThirdPartyAuthError => (401, "UNAUTHENTICATED", "Auth error from APNS or Web Push Service"),
            Self::SenderIdMismatch => (403, "PERMISSION_DENIED", "SenderId mismatch"),
            Self::PermissionDenied => (
                403,
                "PERMISSION_DENIED",
                "Permission 'cloudmessaging.messages.create' denied on resource \
                 '//cloudresourcemanager.googleapis.com/projects/fanlight-dev' (or it may not exist).",
            ),
            Self::Unregistered | Self::NotFound => (404, "NOT_FOUND", "Requested entity was not found."),
            Self::QuotaExceeded | Self::DeviceRateExceeded => {
                (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).")
            }
            Self::ResourceExhausted => (
                429,
                "RESOURCE_EXHAUSTED",
                "Quota exceeded for quota metric 'Send requests' and limit 'Send requests per minute' of service \
                 'fcm.googleapis.com' for consumer 'project_number:1'.",
            ),
            Self::Internal => (500, "INTERNAL", "Internal error encountered."),
            Self::Unavailable => (503, "UNAVAILABLE", "The service is currently unavailable."),
            Self::UnspecifiedError => (500, "UNKNOWN", "Unknown Error."),
        }
    }

    fn details(self) -> Vec<Value> {
        let mut details = Vec::new();
        if let Some(code) = self.fcm_code() {
            details.push(json!({"@type": FCM_ERROR, "errorCode": code}));
        }
        match self {
            Self::InvalidToken => {
                details.push(bad_request("message.token", "Invalid registration token"));
            }
            Self::InvalidArgument => details.push(bad_request("message.data", "Invalid data")),
            Self::ThirdPartyAuthError => details
                .push(json!({"@type": APNS_ERROR, "statusCode": 403, "reason": "InvalidProviderToken"})),
            Self::DeviceRateExceeded => details.push(json!({
                "@type": QUOTA_FAILURE,
                "violations": [{"subject": "device", "description": "Device message rate exceeded"}],
            })),
            Self::ResourceExhausted => details.push(error_info("RATE_LIMIT_EXCEEDED", "googleapis.com")),
            Self::PermissionDenied => {
                details.push(error_info("IAM_PERMISSION_DENIED", "cloudresourcemanager.googleapis.com"));
            }
            _ => {}
        }
        details
    }

    pub(super) fn response(self) -> Response {
        let (status, name, text) = self.status_and_text();
        let mut response = error(status, name, text, self.details());
        if self == Self::Unauthenticated {
            let challenge = r#"Bearer realm="https://accounts.google.com/", error="invalid_token""#;
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: ApiError<'a>,
}

/// In Google's order of fields.
#[derive(Serialize)]
struct ApiError<'a> {
    code: u16,
    message: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Value>,
}

fn error(code: u16, status: &str, message: &str, details: Vec<Value>) -> Response {
    let status_code = StatusCode::from_u16(code).expect("the table holds HTTP statuses");
    pretty(status_code, &Envelope { error: ApiError { code, message, status, details } })
}

/// 400 for a message that breaks a rule of the API: `field` is its path.
pub(super) fn violation(field: &str, description: &str) -> Response {
    let details = vec![bad_request(field, description)];
    error(400, "INVALID_ARGUMENT", description, details)
}

/// Google's APIs answer indented JSON.
pub(super) fn pretty(status: StatusCode, body: &impl Serialize) -> Response {
    let mut text = serde_json::to_string_pretty(body).expect("a plain struct");
    text.push('\n');
    (status, [(CONTENT_TYPE, "application/json; charset=UTF-8")], text).into_response()
}

pub(super) fn with_retry_after(mut response: Response, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}

fn bad_request(field: &str, description: &str) -> Value {
    json!({"@type": BAD_REQUEST, "fieldViolations": [{"field": field, "description": description}]})
}

fn error_info(reason: &str, domain: &str) -> Value {
    json!({"@type": ERROR_INFO, "reason": reason, "domain": domain})
}
