//! Which messages FCM takes: the fields of the v1 API, and its limits.
//!
//! <https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages>

use serde_json::{Map, Value};

const PAYLOAD_BYTES_MAX: usize = 4096;
const TOPIC_PAYLOAD_BYTES_MAX: usize = 2048;
const TTL_SECONDS_MAX: f64 = 28.0 * 24.0 * 3600.0;
const APNS_COLLAPSE_ID_BYTES_MAX: usize = 64;

const REQUEST: &str = "validate_only message";
const MESSAGE: &str = "name data notification android webpush apns fcm_options token topic condition fid";
const NOTIFICATION: &str = "title body image";
const ANDROID: &str = "\
    collapse_key priority ttl restricted_package_name data notification fcm_options direct_boot_ok \
    bandwidth_constrained_ok restricted_satellite_ok";
const ANDROID_NOTIFICATION: &str = "\
    title body icon color sound tag click_action body_loc_key body_loc_args title_loc_key title_loc_args \
    channel_id ticker sticky event_time local_only notification_priority default_sound \
    default_vibrate_timings default_light_settings vibrate_timings visibility notification_count \
    light_settings image bypass_proxy_notification proxy";
const APNS: &str = "headers payload fcm_options live_activity_token";
const WEBPUSH: &str = "headers data notification fcm_options";

/// Which field is wrong, and how.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) field: String,
    pub(super) description: String,
}

impl Violation {
    pub(super) fn new(field: &str, description: &str) -> Self {
        Self { field: field.to_owned(), description: description.to_owned() }
    }
}

type Checked = Result<(), Violation>;

pub(super) fn request(request: &Value) -> Checked {
    let fields = object("", request)?;
    known("", fields, REQUEST)?;
    let message = object("message", field(fields, "message").unwrap_or(&Value::Null))?;
    known("message", message, MESSAGE)?;
    one_target(message)?;
    strings("message.data", field(message, "data"))?;
    data_keys("message.data", field(message, "data"))?;
    section(message, "notification", NOTIFICATION)?;
    android(message)?;
    apns(message)?;
    if let Some(webpush) = section(message, "webpush", WEBPUSH)? {
        strings("message.webpush.headers", field(webpush, "headers"))?;
        strings("message.webpush.data", field(webpush, "data"))?;
    }
    let to_topic = field(message, "topic").or_else(|| field(message, "condition")).is_some();
    if payload_bytes(message) > if to_topic { TOPIC_PAYLOAD_BYTES_MAX } else { PAYLOAD_BYTES_MAX } {
        return Err(Violation::new("message", "Message is too big."));
    }
    Ok(())
}

fn one_target(message: &Map<String, Value>) -> Checked {
    let targets = ["token", "topic", "condition", "fid"];
    let given: Vec<&Value> = targets.iter().filter_map(|target| field(message, target)).collect();
    match given.as_slice() {
        [Value::String(target)] if !target.is_empty() => Ok(()),
        [] | [Value::String(_)] => Err(Violation::new("message", "Recipient of the message is not set.")),
        [_] => Err(Violation::new("message.token", "Invalid value (TYPE_STRING)")),
        _ => Err(Violation::new("message", "oneof field 'target' is already set.")),
    }
}

fn android(message: &Map<String, Value>) -> Checked {
    let Some(android) = section(message, "android", ANDROID)? else { return Ok(()) };
    strings("message.android.data", field(android, "data"))?;
    data_keys("message.android.data", field(android, "data"))?;
    if let Some(notification) = field(android, "notification") {
        let path = "message.android.notification";
        known(path, object(path, notification)?, ANDROID_NOTIFICATION)?;
    }
    if let Some(priority) = field(android, "priority")
        && !matches!(priority.as_str(), Some("NORMAL" | "HIGH" | "normal" | "high"))
    {
        return Err(Violation::new("message.android.priority", "Invalid value (TYPE_ENUM)"));
    }
    let ttl = field(android, "ttl");
    if ttl.is_some_and(|ttl| !ttl.as_str().and_then(seconds).is_some_and(is_life)) {
        return Err(Violation::new("message.android.ttl", "Invalid value: ttl must be 0s to 2419200s"));
    }
    Ok(())
}

fn apns(message: &Map<String, Value>) -> Checked {
    let Some(apns) = section(message, "apns", APNS)? else { return Ok(()) };
    let headers = field(apns, "headers");
    strings("message.apns.headers", headers)?;
    let header = |name: &str| headers.and_then(|headers| headers[name].as_str());
    let wrong = |name: &str| Err(Violation::new(&format!("message.apns.headers.{name}"), "Invalid value"));
    if header("apns-priority").is_some_and(|value| !matches!(value, "1" | "5" | "10")) {
        return wrong("apns-priority");
    }
    if header("apns-expiration").is_some_and(|value| value.parse::<u64>().is_err()) {
        return wrong("apns-expiration");
    }
    if header("apns-collapse-id").is_some_and(|value| value.len() > APNS_COLLAPSE_ID_BYTES_MAX) {
        return wrong("apns-collapse-id");
    }
    Ok(())
}

/// A field by its proto name or, as proto3's JSON allows, in camelCase.
fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.iter().find(|(key, _)| snake_case(key) == name).map(|(_, value)| value)
}

fn snake_case(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

fn object<'a>(path: &str, value: &'a Value) -> Result<&'a Map<String, Value>, Violation> {
    value
        .as_object()
        .ok_or_else(|| Violation::new(path, "Invalid JSON payload received. Expected an object."))
}

fn section<'a>(
    message: &'a Map<String, Value>,
    name: &str,
    allowed: &str,
) -> Result<Option<&'a Map<String, Value>>, Violation> {
    let Some(value) = field(message, name) else { return Ok(None) };
    let path = format!("message.{name}");
    let fields = object(&path, value)?;
    known(&path, fields, allowed)?;
    Ok(Some(fields))
}

fn known(path: &str, fields: &Map<String, Value>, allowed: &str) -> Checked {
    let is_known = |key: &&String| allowed.split(' ').any(|name| name == snake_case(key));
    let Some(unknown) = fields.keys().find(|key| !is_known(key)) else {
        return Ok(());
    };
    let at = if path.is_empty() { String::new() } else { format!(" at '{path}'") };
    let text = format!("Invalid JSON payload received. Unknown name \"{unknown}\"{at}: Cannot find field.");
    Err(Violation::new(path, &text))
}

/// A map of strings, or nothing.
fn strings(path: &str, value: Option<&Value>) -> Checked {
    let Some(value) = value else { return Ok(()) };
    for (index, value) in object(path, value)?.values().enumerate() {
        if !value.is_string() {
            let path = format!("{path}[{index}].value");
            return Err(Violation::new(&path, &format!("Invalid value at '{path}' (TYPE_STRING), {value}")));
        }
    }
    Ok(())
}

fn data_keys(path: &str, value: Option<&Value>) -> Checked {
    let reserved = |key: &&String| {
        matches!(key.as_str(), "from" | "message_type") || key.starts_with("google") || key.starts_with("gcm")
    };
    let keys = value.and_then(Value::as_object).into_iter().flat_map(Map::keys);
    match keys.into_iter().find(reserved) {
        Some(key) => Err(Violation::new(path, &format!("Invalid data payload key: {key}"))),
        None => Ok(()),
    }
}

/// A duration in proto3's JSON: `3.5s`.
fn seconds(text: &str) -> Option<f64> {
    text.strip_suffix('s')?.parse().ok()
}

fn is_life(seconds: f64) -> bool {
    (0.0..=TTL_SECONDS_MAX).contains(&seconds)
}

fn payload_bytes(message: &Map<String, Value>) -> usize {
    let data = field(message, "data").and_then(Value::as_object);
    let data = data.into_iter().flatten().map(|(key, value)| key.len() + length(value));
    let notification = field(message, "notification").and_then(Value::as_object);
    let notification = notification.into_iter().flat_map(Map::values).map(length);
    data.chain(notification).sum()
}

fn length(value: &Value) -> usize {
    value.as_str().map_or(0, str::len)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field_of(message: &Value) -> Option<String> {
        request(&json!({"message": message})).err().map(|violation| violation.field)
    }

    #[test]
    fn what_google_takes_passes() {
        let message = json!({
            "token": "t",
            "notification": {"title": "a", "body": "b"},
            "data": {"seq": "1"},
            "android": {"priority": "HIGH", "ttl": "3.5s", "collapseKey": "k", "notification": {"tag": "k"}},
            "apns": {"headers": {"apns-priority": "10", "apns-expiration": "0"}},
            "webpush": {"headers": {"TTL": "5"}},
        });
        assert_eq!(field_of(&message), None);
    }

    #[test]
    fn each_broken_rule_names_its_field() {
        let table = [
            (json!({}), "message"),
            (json!({"token": ""}), "message"),
            (json!({"token": 1}), "message.token"),
            (json!({"token": "t", "topic": "x"}), "message"),
            (json!({"token": "t", "shout": 1}), "message"),
            (json!({"token": "t", "data": {"seq": 1}}), "message.data[0].value"),
            (json!({"token": "t", "data": {"from": "x"}}), "message.data"),
            (json!({"token": "t", "data": {"gcm.n": "x"}}), "message.data"),
            (json!({"token": "t", "data": {"k": "x".repeat(4096)}}), "message"),
            (json!({"topic": "t", "data": {"k": "x".repeat(2048)}}), "message"),
            (json!({"token": "t", "notification": {"text": "x"}}), "message.notification"),
            (json!({"token": "t", "android": {"ttl": "2419201s"}}), "message.android.ttl"),
            (json!({"token": "t", "android": {"ttl": 5}}), "message.android.ttl"),
            (json!({"token": "t", "android": {"ttl": "-1s"}}), "message.android.ttl"),
            (json!({"token": "t", "android": {"priority": "TOP"}}), "message.android.priority"),
            (json!({"token": "t", "android": {"notification": {"x": 1}}}), "message.android.notification"),
            (
                json!({"token": "t", "apns": {"headers": {"apns-priority": 10}}}),
                "message.apns.headers[0].value",
            ),
            (
                json!({"token": "t", "apns": {"headers": {"apns-collapse-id": "x".repeat(65)}}}),
                "message.apns.headers.apns-collapse-id",
            ),
        ];
        for (message, field) in table {
            assert_eq!(field_of(&message).as_deref(), Some(field), "{message}");
        }
    }
}
