//! What a phone or a browser gets: the words to show, and the facts for the app.
//!
//! Only the block of the token's own platform is sent. Each platform is told to let a newer push replace an older
//! one of the same collapse key, so that a repeated send is seen once.
//! <https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages#Message>

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::ports::push::{Platform, Push};

/// FCM and Web Push keep a message for 28 days at most.
const TTL_MAX: Duration = Duration::from_hours(28 * 24);
/// APNs' bound on `apns-collapse-id`, in bytes.
const APNS_COLLAPSE_ID_BYTES_MAX: usize = 64;
/// Web Push's bound on `Topic` (RFC 8030 §5.4), of the base64url alphabet.
const WEB_TOPIC_BYTES_MAX: usize = 32;

#[derive(Serialize)]
struct Request<'a> {
    message: Message<'a>,
}

#[derive(Serialize)]
struct Message<'a> {
    token: &'a str,
    notification: Notification<'a>,
    data: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    android: Option<Android<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    apns: Option<Apns<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webpush: Option<WebPush>,
}

#[derive(Serialize)]
struct Notification<'a> {
    title: &'a str,
    body: &'a str,
}

#[derive(Serialize)]
struct Android<'a> {
    priority: &'static str,
    ttl: String,
    collapse_key: &'a str,
    notification: AndroidNotification<'a>,
}

#[derive(Serialize)]
struct AndroidNotification<'a> {
    tag: &'a str,
}

#[derive(Serialize)]
struct Apns<'a> {
    headers: ApnsHeaders<'a>,
}

#[derive(Serialize)]
struct ApnsHeaders<'a> {
    #[serde(rename = "apns-priority")]
    priority: &'static str,
    #[serde(rename = "apns-push-type")]
    push_type: &'static str,
    #[serde(rename = "apns-expiration")]
    expiration: String,
    #[serde(rename = "apns-collapse-id")]
    collapse_id: Cow<'a, str>,
}

#[derive(Serialize)]
struct WebPush {
    headers: WebPushHeaders,
}

#[derive(Serialize)]
struct WebPushHeaders {
    #[serde(rename = "TTL")]
    ttl: String,
    #[serde(rename = "Urgency")]
    urgency: &'static str,
    #[serde(rename = "Topic")]
    topic: String,
}

/// The JSON body of one send.
pub(super) fn encode(push: &Push, now: Timestamp) -> Vec<u8> {
    let ttl = push.ttl.min(TTL_MAX);
    let mut message = Message {
        token: &push.token,
        notification: Notification { title: &push.title, body: &push.body },
        data: &push.data,
        android: None,
        apns: None,
        webpush: None,
    };
    match push.platform {
        Platform::Android => message.android = Some(android(&push.collapse_key, ttl)),
        Platform::Ios => message.apns = Some(apns(&push.collapse_key, now + ttl)),
        Platform::Web => message.webpush = Some(webpush(&push.collapse_key, ttl)),
    }
    serde_json::to_vec(&Request { message }).expect("a plain struct of strings")
}

fn android(collapse_key: &str, ttl: Duration) -> Android<'_> {
    Android {
        priority: "HIGH",
        ttl: format!("{}s", ttl.as_secs()),
        collapse_key,
        notification: AndroidNotification { tag: collapse_key },
    }
}

fn apns(collapse_key: &str, expires_at: Timestamp) -> Apns<'_> {
    let fits = collapse_key.len() <= APNS_COLLAPSE_ID_BYTES_MAX;
    Apns {
        headers: ApnsHeaders {
            priority: "10",
            push_type: "alert",
            expiration: expires_at.timestamp().to_string(),
            collapse_id: if fits { collapse_key.into() } else { fingerprint(collapse_key).into() },
        },
    }
}

fn webpush(collapse_key: &str, ttl: Duration) -> WebPush {
    WebPush {
        headers: WebPushHeaders {
            ttl: ttl.as_secs().to_string(),
            urgency: "high",
            topic: fingerprint(collapse_key),
        },
    }
}

/// Stands for a key that is too long or has characters that may not be sent: the same key, the same text.
fn fingerprint(key: &str) -> String {
    let mut text = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, key.as_bytes()));
    text.truncate(WEB_TOPIC_BYTES_MAX);
    text
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Value, json};

    use super::*;
    use crate::ports::push::contract::push;

    fn message(push: &Push) -> Value {
        let now = DateTime::from_timestamp(1_700_000_000, 0).expect("in range");
        let request: Value = serde_json::from_slice(&encode(push, now)).expect("JSON");
        request["message"].clone()
    }

    #[test]
    fn android_gets_the_documented_message() {
        let push = push("token");
        assert_eq!(
            message(&push),
            json!({
                "token": "token",
                "notification": {"title": "Anna", "body": "is available"},
                "data": {
                    "type": "PARTNER_STATUS_CHANGED",
                    "eventId": "0193a5c0-0000-7000-8000-000000000001",
                    "seq": "7",
                    "actorId": "0193a5c0-0000-7000-8000-000000000002",
                    "status": "AVAILABLE",
                },
                "android": {
                    "priority": "HIGH",
                    "ttl": "3600s",
                    "collapse_key": push.collapse_key,
                    "notification": {"tag": push.collapse_key},
                },
            })
        );
    }

    #[test]
    fn ios_gets_only_the_apns_block() {
        let message = message(&Push { platform: Platform::Ios, ..push("token") });
        assert_eq!(
            message["apns"],
            json!({"headers": {
                "apns-priority": "10",
                "apns-push-type": "alert",
                "apns-expiration": "1700003600",
                "apns-collapse-id": "status:0193a5c0-0000-7000-8000-000000000002",
            }})
        );
        assert!(message.get("android").is_none() && message.get("webpush").is_none());
    }

    #[test]
    fn web_gets_only_the_webpush_block_with_a_topic_that_a_push_service_takes() {
        let message = message(&Push { platform: Platform::Web, ..push("token") });
        let headers = &message["webpush"]["headers"];
        assert_eq!((&headers["TTL"], &headers["Urgency"]), (&json!("3600"), &json!("high")));
        let topic = headers["Topic"].as_str().expect("a topic");
        assert_eq!(topic.len(), 32);
        assert!(topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        assert!(message.get("android").is_none() && message.get("apns").is_none());
    }

    #[test]
    fn the_life_is_whole_seconds_and_at_most_28_days() {
        let ttl = |ttl| message(&Push { ttl, ..push("token") })["android"]["ttl"].clone();
        assert_eq!(ttl(Duration::from_millis(900)), "0s");
        assert_eq!(ttl(Duration::from_millis(1900)), "1s");
        assert_eq!(ttl(Duration::from_hours(10_000)), "2419200s");
    }

    #[test]
    fn a_long_collapse_key_still_fits_apns() {
        let long = Push { platform: Platform::Ios, collapse_key: "k".repeat(65), ..push("token") };
        let id = message(&long)["apns"]["headers"]["apns-collapse-id"].clone();
        assert_eq!(id.as_str().map(str::len), Some(32));
    }
}
