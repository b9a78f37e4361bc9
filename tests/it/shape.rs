//! Compares JSON with its documentation, in which `"<uuid>"` and the like stand for what differs each time.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// Checks every field, and that there is no other. Placeholders: `<uuid>` (version 7), `<iso>` (ISO 8601 in UTC, of
/// this very day), `<ms>` (epoch milliseconds of this very day), `<int>`, `<text>` (not empty), `<jwt>`.
#[track_caller]
pub fn assert_shape(value: &Value, documented: &Value) {
    compare(value, documented, "$");
}

#[track_caller]
fn compare(value: &Value, documented: &Value, path: &str) {
    match (value, documented) {
        (Value::Object(fields), Value::Object(expected)) => {
            let names = |object: &serde_json::Map<String, Value>| {
                let mut names: Vec<String> = object.keys().cloned().collect();
                names.sort();
                names
            };
            assert_eq!(names(fields), names(expected), "the fields of {path}: {value}");
            for (name, field) in fields {
                compare(field, &expected[name], &format!("{path}.{name}"));
            }
        }
        (Value::Array(items), Value::Array(expected)) => {
            assert_eq!(items.len(), expected.len(), "the items of {path}: {value}");
            for (index, (item, expected)) in items.iter().zip(expected).enumerate() {
                compare(item, expected, &format!("{path}[{index}]"));
            }
        }
        (value, Value::String(kind)) if kind.starts_with('<') => {
            assert!(is_a(value, kind), "{path} is no {kind}: {value}");
        }
        _ => assert_eq!(value, documented, "{path}"),
    }
}

fn is_a(value: &Value, kind: &str) -> bool {
    let text = value.as_str();
    match kind {
        "<uuid>" => {
            text.and_then(|text| text.parse::<uuid::Uuid>().ok()).is_some_and(|id| id.get_version_num() == 7)
        }
        "<iso>" => text.is_some_and(|text| {
            text.ends_with('Z') && text.parse::<DateTime<Utc>>().is_ok_and(is_of_this_day)
        }),
        "<ms>" => value.as_i64().and_then(DateTime::from_timestamp_millis).is_some_and(is_of_this_day),
        "<int>" => value.is_u64(),
        "<text>" => text.is_some_and(|text| !text.is_empty()),
        "<jwt>" => text.is_some_and(|text| text.split('.').filter(|part| !part.is_empty()).count() == 3),
        _ => panic!("unknown placeholder {kind}"),
    }
}

fn is_of_this_day(time: DateTime<Utc>) -> bool {
    (time - Utc::now()).num_hours().abs() < 24
}
