//! The JSON that clients send: one flat object, each key once, nothing deep.
//!
//! Stricter than a struct that serde fills: fields we do not know are skipped, but may not be there twice, and
//! may not nest so that reading them costs more than their bytes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

const DEPTH_MAX: usize = 32;
/// More than any command has; bounds the search for keys that are there twice.
const FIELDS_MAX: usize = 32;

/// An object's fields, each read when it is asked for.
pub struct FlatObject<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> FlatObject<'a> {
    /// `None` if the text is anything else.
    pub fn read(text: &'a str) -> Option<Self> {
        if is_deeper_than(DEPTH_MAX, text) { None } else { serde_json::from_str(text).ok() }
    }

    /// A field's value; null is as good as absent.
    ///
    /// # Errors
    /// When it is there and something else.
    pub fn field<T: Deserialize<'a>>(&self, name: &str) -> serde_json::Result<Option<T>> {
        let value = self.0.iter().find(|(key, _)| key == name);
        value.map_or(Ok(None), |(_, value)| serde_json::from_str(value.get()))
    }
}

impl<'de> Deserialize<'de> for FlatObject<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = FlatObject<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object with each key once")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields: Vec<(Cow<'de, str>, &RawValue)> = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    if fields.len() == FIELDS_MAX || fields.iter().any(|(other, _)| *other == key) {
                        return Err(M::Error::custom("too many keys, or one twice"));
                    }
                    fields.push((key, map.next_value()?));
                }
                Ok(FlatObject(fields))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

/// Borrowed unless it has escapes; serde's own `Cow` is always owned.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Whether brackets nest deeper than this outside strings. Of text that is no JSON it may say anything.
fn is_deeper_than(max: usize, text: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > max {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| {
            format!(r#"{{"a":"[\"{{","b":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1))
        };
        assert!(FlatObject::read(&nested(DEPTH_MAX)).is_some());
        assert!(FlatObject::read(&nested(DEPTH_MAX + 1)).is_none());
        assert!(FlatObject::read(&"[".repeat(60_000)).is_none());
    }

    #[test]
    fn the_number_of_fields_is_bounded() {
        let fields = |count: usize| {
            let fields: Vec<String> = (0..count).map(|number| format!(r#""{number}":0"#)).collect();
            format!("{{{}}}", fields.join(","))
        };
        assert!(FlatObject::read(&fields(FIELDS_MAX)).is_some());
        assert!(FlatObject::read(&fields(FIELDS_MAX + 1)).is_none());
    }

    #[test]
    fn a_key_is_the_same_however_it_is_written() {
        assert!(FlatObject::read(r#"{"a":1,"\u0061":2}"#).is_none());
        let object = FlatObject::read(r#"{"\u0061":1,"b":null}"#).unwrap();
        assert_eq!(object.field::<i64>("a").unwrap(), Some(1));
        assert_eq!(object.field::<i64>("b").unwrap(), None);
        assert_eq!(object.field::<i64>("c").unwrap(), None);
        assert!(object.field::<String>("a").is_err());
    }
}
