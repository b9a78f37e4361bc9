//! The send endpoint: the same checks in the same order as the real one, then the fate of the token.

use std::future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::replies::{pretty, violation, with_retry_after};
use super::script::{ReplyScript, RetryAfter};
use super::validate::{self, Violation};
use super::{Code, Cut, Fake, Inner, server};

const SLOW: Duration = Duration::from_secs(2);
/// What `quota-` tokens are told.
const QUOTA_RETRY_AFTER: &str = "60";

pub(super) async fn send(
    State(fake): State<Arc<Fake>>,
    Path(project): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Fate { latency, ending } = decide(&fake, &project, &headers, &request);
    tokio::time::sleep(latency).await;
    match ending {
        Ending::Answer(response) => response,
        Ending::Cut(how, response) => server::cut(how, response),
        Ending::Hang => future::pending().await,
    }
}

/// What becomes of one send.
struct Fate {
    latency: Duration,
    ending: Ending,
}

enum Ending {
    Answer(Response),
    Cut(Cut, Response),
    Hang,
}

impl From<Response> for Fate {
    fn from(response: Response) -> Self {
        Self { latency: Duration::ZERO, ending: Ending::Answer(response) }
    }
}

/// Settles the outcome and logs it before any answer goes out: who hears nothing may still have been served.
fn decide(fake: &Fake, project: &str, headers: &HeaderMap, request: &Value) -> Fate {
    let now = fake.clock.now();
    let at = now.timestamp_millis();
    let mut inner = fake.inner.lock();
    let validate_only = request["validate_only"] == true || request["validateOnly"] == true;
    let record = |inner: &mut Inner, outcome: &str| {
        if !validate_only {
            inner.log.record(at, request["message"].clone(), outcome);
        }
    };

    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if !inner.issued.accepts(token, now) {
        record(&mut inner, Code::Unauthenticated.outcome());
        return Code::Unauthenticated.response().into();
    }
    if project != fake.account.project_id {
        record(&mut inner, Code::NotFound.outcome());
        return Code::NotFound.response().into();
    }
    if let Err(Violation { field, description }) = check(headers, request) {
        // Costs quota all the same, as every answer but 429.
        inner.scripted.within_quota(at);
        record(&mut inner, Code::InvalidArgument.outcome());
        return violation(&field, &description).into();
    }
    let token = request["message"]["token"].as_str().unwrap_or_default();
    if validate_only {
        return match fate_of_token(token, &inner) {
            Some(code) => refusal(code).into(),
            None => accepted(project, "fake_message_id").into(),
        };
    }
    let (outcome, Fate { latency, ending }) = fate_of(project, token, at, &mut inner);
    record(&mut inner, outcome);
    if outcome == Code::Accepted.outcome() {
        inner.devices.take(token, &request["message"], at);
    }
    Fate { latency: latency + inner.scripted.latency(), ending }
}

fn check(headers: &HeaderMap, request: &Value) -> Result<(), Violation> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.split(';').next() != Some("application/json") {
        return Err(Violation::new("", "Invalid content type: must be application/json"));
    }
    validate::request(request)
}

/// For the log, and for the sender.
fn fate_of(project: &str, token: &str, at: i64, inner: &mut Inner) -> (&'static str, Fate) {
    let name = uuid::Uuid::new_v4().simple().to_string();
    if let Some(reply) = inner.scripted.next_reply(token) {
        return scripted(&reply, project, &name);
    }
    if !inner.scripted.within_quota(at) {
        let code = Code::ResourceExhausted;
        return (code.outcome(), code.response().into());
    }
    if token.starts_with("hang-") {
        return ("HANG", Fate { latency: Duration::ZERO, ending: Ending::Hang });
    }
    if let Some(code) = fate_of_token(token, inner) {
        return (code.outcome(), refusal(code).into());
    }
    let latency = if token.starts_with("slow-") { SLOW } else { Duration::ZERO };
    ("accepted", Fate { latency, ending: Ending::Answer(accepted(project, &name)) })
}

fn scripted(reply: &ReplyScript, project: &str, name: &str) -> (&'static str, Fate) {
    let latency = Duration::from_millis(reply.latency_ms);
    let mut outcome = reply.code.outcome();
    let mut response = match reply.code {
        Code::Accepted => accepted(project, name),
        code => code.response(),
    };
    if let Some(body) = &reply.body {
        *response.body_mut() = body.clone().into();
    }
    if let Some(status) = reply.status.and_then(|status| StatusCode::from_u16(status).ok()) {
        // Whoever answers `accepted` with another status has not accepted.
        if reply.code == Code::Accepted && status != StatusCode::OK {
            outcome = "UNSPECIFIED_ERROR";
        }
        *response.status_mut() = status;
    }
    response = match &reply.retry_after {
        None => response,
        Some(RetryAfter::Seconds(seconds)) => with_retry_after(response, &seconds.to_string()),
        Some(RetryAfter::Text(text)) => with_retry_after(response, text),
    };
    let ending = match reply.cut {
        None => Ending::Answer(response),
        Some(how) => Ending::Cut(how, response),
    };
    (outcome, Fate { latency, ending })
}

/// Why a token of this name is refused now, if it is.
fn fate_of_token(token: &str, inner: &Inner) -> Option<Code> {
    let fates = [
        ("unreg-", Code::Unregistered),
        ("mismatch-", Code::SenderIdMismatch),
        ("bad-", Code::InvalidToken),
        ("quota-", Code::DeviceRateExceeded),
        ("apnsauth-", Code::ThirdPartyAuthError),
    ];
    if let Some((_, code)) = fates.iter().find(|(prefix, _)| token.starts_with(prefix)) {
        return Some(*code);
    }
    let (failures, _) = token.strip_prefix("flaky-")?.split_once('-')?;
    let failures: usize = failures.parse().ok()?;
    (inner.log.arrivals(token) < failures).then_some(Code::Unavailable)
}

fn refusal(code: Code) -> Response {
    match code {
        Code::DeviceRateExceeded => with_retry_after(code.response(), QUOTA_RETRY_AFTER),
        code => code.response(),
    }
}

fn accepted(project: &str, name: &str) -> Response {
    pretty(StatusCode::OK, &json!({"name": format!("projects/{project}/messages/{name}")}))
}
