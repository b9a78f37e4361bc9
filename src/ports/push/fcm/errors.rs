//! What each refusal of FCM means for us: one table.
//!
//! Read from the most to the least telling: FCM's own `errorCode`, then the API's `status`, then the HTTP code.
//! Only an answer that names the token kills it; whatever we do not understand is tried again.
//! <https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode>

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::domain::clock::Timestamp;
use crate::ports::push::PushError;

/// What Google asks for when a quota is used up and the answer names no time.
const QUOTA_PAUSE: Duration = Duration::from_mins(1);
/// For what somebody has to repair: a permission, a key at Apple.
const REPAIR_PAUSE: Duration = Duration::from_mins(1);
/// A longer `Retry-After` is cut to this, so that a wrong one does not end push for good.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

const FCM_ERROR: &str = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
const QUOTA_FAILURE: &str = "type.googleapis.com/google.rpc.QuotaFailure";
/// What FCM says of a malformed token since 2021, with no field named: seen in
/// <https://github.com/firebase/firebase-admin-java/issues/1064>.
const MALFORMED_TOKEN: &str = "The registration token is not a valid FCM registration token";

/// A refused send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// FCM does not accept our access token.
    Credentials,
    Push(PushError),
}

impl Refusal {
    /// A stable word for metrics.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Credentials => "unauthenticated",
            Self::Push(
                PushError::Retry { reason, .. }
                | PushError::Busy { reason, .. }
                | PushError::Hold { reason, .. }
                | PushError::HoldPlatform { reason, .. }
                | PushError::TokenDead { reason }
                | PushError::Fatal { reason },
            ) => reason,
        }
    }
}

/// An answer that is not 200.
pub(super) struct Reply<'a> {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: &'a [u8],
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope {
    error: ApiError,
}

/// `google.rpc.Status` in JSON.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ApiError {
    status: String,
    message: String,
    details: Vec<Value>,
}

pub(super) fn classify(reply: &Reply<'_>) -> Refusal {
    let error = serde_json::from_slice::<Envelope>(reply.body).unwrap_or_default().error;
    let code = error.fcm_code().unwrap_or(&error.status);
    let refusal = table(code, &error, reply);
    tracing::warn!(
        http.status = reply.status.as_u16(),
        fcm.code = %printable(code),
        push.reason = refusal.reason(),
        "FCM refused a push"
    );
    refusal
}

fn table(code: &str, error: &ApiError, reply: &Reply<'_>) -> Refusal {
    let after = reply.retry_after;
    Refusal::Push(match code {
        "UNREGISTERED" => PushError::TokenDead { reason: "unregistered" },
        "SENDER_ID_MISMATCH" => PushError::TokenDead { reason: "sender_id_mismatch" },
        "INVALID_ARGUMENT" if error.blames_token() => PushError::TokenDead { reason: "invalid_token" },
        "INVALID_ARGUMENT" => PushError::Fatal { reason: "invalid_argument" },
        "THIRD_PARTY_AUTH_ERROR" => {
            PushError::HoldPlatform { after: after.unwrap_or(REPAIR_PAUSE), reason: "third_party_auth" }
        }
        "QUOTA_EXCEEDED" | "RESOURCE_EXHAUSTED" => {
            let after = after.unwrap_or(QUOTA_PAUSE);
            if error.blames_rate_of_one_target() {
                PushError::Busy { after: Some(after), reason: "quota_exceeded" }
            } else {
                PushError::Hold { after, reason: "quota_exceeded" }
            }
        }
        "INTERNAL" => PushError::Retry { after, reason: "internal" },
        "UNAVAILABLE" => PushError::Retry { after, reason: "unavailable" },
        "UNAUTHENTICATED" => return Refusal::Credentials,
        "PERMISSION_DENIED" => {
            PushError::Hold { after: after.unwrap_or(REPAIR_PAUSE), reason: "permission_denied" }
        }
        // The project or the path, not the token: that would be UNREGISTERED.
        "NOT_FOUND" => PushError::Retry { after, reason: "not_found" },
        _ => return by_http_status(reply),
    })
}

/// For answers that are not FCM's: a front end's or a proxy's. None of them says anything about a token.
fn by_http_status(reply: &Reply<'_>) -> Refusal {
    let after = reply.retry_after;
    Refusal::Push(match reply.status {
        StatusCode::UNAUTHORIZED => return Refusal::Credentials,
        StatusCode::FORBIDDEN => {
            PushError::Hold { after: after.unwrap_or(REPAIR_PAUSE), reason: "permission_denied" }
        }
        StatusCode::TOO_MANY_REQUESTS => {
            PushError::Hold { after: after.unwrap_or(QUOTA_PAUSE), reason: "quota_exceeded" }
        }
        StatusCode::NOT_FOUND => PushError::Retry { after, reason: "not_found" },
        StatusCode::INTERNAL_SERVER_ERROR => PushError::Retry { after, reason: "internal" },
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            PushError::Retry { after, reason: "unavailable" }
        }
        _ => PushError::Retry { after, reason: "unexpected_response" },
    })
}

impl ApiError {
    fn details<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.details.iter().filter(move |detail| detail["@type"] == kind)
    }

    fn fcm_code(&self) -> Option<&str> {
        let code = self.details(FCM_ERROR).find_map(|detail| detail["errorCode"].as_str());
        code.filter(|code| *code != "UNSPECIFIED_ERROR")
    }

    fn blames_token(&self) -> bool {
        let mut violations = self.details(BAD_REQUEST).flat_map(|detail| list(&detail["fieldViolations"]));
        self.message == MALFORMED_TOKEN || violations.any(|violation| violation["field"] == "message.token")
    }

    /// Whether the limit of one device or topic was hit, not the project's.
    fn blames_rate_of_one_target(&self) -> bool {
        let names_target = |text: &str| {
            let text = text.to_ascii_lowercase();
            text.contains("device") || text.contains("topic")
        };
        let violations = self.details(QUOTA_FAILURE).flat_map(|detail| list(&detail["violations"]));
        let mut texts = violations
            .flat_map(|violation| [&violation["subject"], &violation["description"]])
            .filter_map(Value::as_str);
        texts.any(names_target)
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A peer's word, fit for a log line: it may be anything.
fn printable(code: &str) -> &str {
    const CODE_BYTES_MAX: usize = 40;
    let plain = code.len() <= CODE_BYTES_MAX && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    if plain { code } else { "unreadable" }
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds, or a date.
pub(super) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = text.parse().ok().map(Duration::from_secs).or_else(|| {
        let date = DateTime::parse_from_rfc2822(text).ok()?;
        (date.with_timezone(&Utc) - now).to_std().ok()
    })?;
    // "At once" is what we would have done without the header: then our own back-off is kinder.
    (!wait.is_zero()).then(|| wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        let status = StatusCode::from_u16(status).expect("a status");
        classify(&Reply { status, retry_after: None, body: body.as_bytes() })
    }

    fn fcm_error(http: u16, status: &str, code: &str, more: &Value) -> String {
        let mut details = vec![json!({"@type": FCM_ERROR, "errorCode": code})];
        details.extend(list(more).iter().cloned());
        json!({"error": {"code": http, "message": "…", "status": status, "details": details}}).to_string()
    }

    #[test]
    fn a_404_that_does_not_name_the_token_leaves_it_alive() {
        let bare = r#"{"error": {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"}}"#;
        for body in [bare, "<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>", "", "{}", "[1]", "null"]
        {
            let expected = PushError::Retry { after: None, reason: "not_found" };
            assert_eq!(refusal(404, body), Refusal::Push(expected), "{body}");
        }
    }

    #[test]
    fn an_invalid_argument_kills_the_token_only_if_it_names_the_token() {
        let field = |field: &str| json!([{"@type": BAD_REQUEST, "fieldViolations": [{"field": field}]}]);
        let body =
            |field_name: &str| fcm_error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", &field(field_name));
        let dead = Refusal::Push(PushError::TokenDead { reason: "invalid_token" });
        let wrong = Refusal::Push(PushError::Fatal { reason: "invalid_argument" });
        assert_eq!(refusal(400, &body("message.token")), dead);
        assert_eq!(refusal(400, &body("message.data[0].value")), wrong);
        assert_eq!(refusal(400, r#"{"error": {"status": "INVALID_ARGUMENT"}}"#), wrong);
        let malformed = json!({"error": {"status": "INVALID_ARGUMENT", "message": MALFORMED_TOKEN}});
        assert_eq!(refusal(400, &malformed.to_string()), dead);
    }

    #[test]
    fn the_rate_of_one_device_does_not_hold_back_the_others() {
        let quota = |description: &str| {
            let more = json!([{"@type": QUOTA_FAILURE, "violations": [{"description": description}]}]);
            refusal(429, &fcm_error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", &more))
        };
        let (after, reason) = (QUOTA_PAUSE, "quota_exceeded");
        assert_eq!(
            quota("Device message rate exceeded"),
            Refusal::Push(PushError::Busy { after: Some(after), reason })
        );
        assert_eq!(quota("Message rate exceeded"), Refusal::Push(PushError::Hold { after, reason }));
    }

    #[test]
    fn what_is_not_understood_is_tried_again() {
        for (status, body) in [
            (400, "<html>proxy</html>"),
            (302, ""),
            (418, "{}"),
            (500, r#"{"error": {"details": "not a list"}}"#),
            (503, "overloaded"),
            (409, r#"{"error": {"status": "ABORTED"}}"#),
        ] {
            let refusal = refusal(status, body);
            assert!(
                matches!(refusal, Refusal::Push(PushError::Retry { .. })),
                "{status} {body}: {refusal:?}"
            );
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = DateTime::from_timestamp(784_111_777, 0).expect("in range");
        let seconds = |text| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("17"), Some(17));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:49 GMT"), Some(12));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), None);
        assert_eq!(seconds("0"), None);
        assert_eq!(seconds("999999999"), Some(3600));
        assert_eq!(seconds("soon"), None);
        assert_eq!(seconds("-1"), None);
    }

    #[test]
    fn a_hostile_code_does_not_reach_the_log() {
        assert_eq!(printable("UNREGISTERED"), "UNREGISTERED");
        assert_eq!(printable("X\nforged line"), "unreadable");
        assert_eq!(printable(&"A".repeat(41)), "unreadable");
    }
}
