//! The way through FCM.

use super::Values::OneOf;
use super::buckets::{CALL, DELIVERY};
use super::metrics;

const PLATFORMS: &[&str] = &["android", "ios", "web"];

metrics! {
    /// Requests to FCM, by its answer.
    counter "fanlight_push_requests_total" { result: OneOf(&[
        "accepted", "unregistered", "sender_id_mismatch", "invalid_token", "invalid_argument", "third_party_auth",
        "quota_exceeded", "internal", "unavailable", "permission_denied", "not_found", "unauthenticated",
        "unexpected_response", "timeout", "connection_failed",
    ]) };
    /// From a request to FCM to its answer.
    histogram(CALL) "fanlight_push_request_duration_seconds";
    /// From the commit of an event until FCM had it for a device, by the clock of Postgres up to the claim.
    histogram(DELIVERY) "fanlight_delivery_push_duration_seconds" { platform: OneOf(PLATFORMS) };
    /// Attempts to push an event to a device, and what became of them.
    counter "fanlight_push_attempts_total" {
        platform: OneOf(PLATFORMS), verdict: OneOf(&["accepted", "token_dead", "refused", "later"]),
    };
    /// Attempts given up before the question, because the event may be another worker's by now.
    counter "fanlight_push_attempts_overtaken_total";
    /// Times that pushes of this node, or those to one platform, were held back.
    counter "fanlight_push_holds_total" {
        scope: OneOf(&["all", "android", "ios", "web"]),
        reason: OneOf(&[
            "breaker", "quota_exceeded", "permission_denied", "third_party_auth", "unauthenticated",
            "oauth_unavailable", "oauth_refused", "push_disabled",
        ]),
    };
    /// Times that FCM was taken for away, and left alone.
    counter "fanlight_push_breaker_opens_total";
    /// Pushes that this node makes at once at most, as FCM bears it.
    gauge "fanlight_push_concurrency_limit";
    /// Fresh events that found the queue for pushes full, and wait for a sweeper.
    counter "fanlight_push_queue_overflows_total";
    /// Requests for an access token of Google, by their result.
    counter "fanlight_push_oauth_refreshes_total" { result: OneOf(&["ok", "oauth_unavailable", "oauth_refused"]) };
}
