//! What HTTP says around a file: which part of it is asked for, whether the client has it already, what it is called.

use std::fmt::Write as _;
use std::ops::Range;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderName};

/// What of a file is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    Whole,
    /// A part that there is, never empty.
    Part(Range<u64>),
    /// None that there is.
    Beyond,
    /// The client has it.
    Nothing,
}

/// Decides by `If-None-Match`, `If-Range` and `Range` (RFC 9110 §13, §14). Of several ranges none is heeded, as the RFC
/// allows.
pub fn asked(headers: &HeaderMap, etag: &str, length: u64) -> Asked {
    if text(headers, IF_NONE_MATCH).is_some_and(|known| is_known(known, etag)) {
        return Asked::Nothing;
    }
    if headers.contains_key(IF_RANGE) && text(headers, IF_RANGE) != Some(etag) {
        return Asked::Whole;
    }
    let range = text(headers, RANGE).and_then(|range| range.strip_prefix("bytes="));
    range.and_then(|range| part(range.trim(), length)).unwrap_or(Asked::Whole)
}

/// `None`: not one range, or none at all.
fn part(range: &str, length: u64) -> Option<Asked> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number beyond all files is as good as the greatest.
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (first, last) = range.split_once('-')?;
    let part = match (first, last) {
        ("", last) => length.saturating_sub(number(last)?)..length,
        (first, "") => number(first)?..length,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            first..last.saturating_add(1).min(length)
        }
    };
    Some(if part.is_empty() { Asked::Beyond } else { Asked::Part(part) })
}

/// The comparison is the weak one: what a proxy has weakened is still the same file.
fn is_known(known: &str, etag: &str) -> bool {
    known.trim() == "*" || known.split(',').any(|one| one.trim().trim_start_matches("W/") == etag)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The type that the body is said to have, without its parameters, in lower case.
pub fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = text(headers, CONTENT_TYPE)?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// How long the body is said to be.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_LENGTH)?.parse().ok()
}

/// To be saved under this name, never shown (RFC 6266). Twice: for clients that know ASCII alone, and as it is.
pub fn disposition(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " !#$&+-.^_`|~()".contains(c);
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let mut value = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''");
    for byte in name.bytes() {
        // RFC 8187, attr-char.
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            value.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _written = write!(value, "%{byte:02X}");
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "\"e\"";

    fn asks(headers: &[(HeaderName, &str)]) -> Asked {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        asked(&headers, ETAG, 100)
    }

    #[test]
    fn one_range_is_a_part_and_anything_else_the_whole() {
        for (range, expected) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=10-19", Asked::Part(10..20)),
            ("bytes=90-", Asked::Part(90..100)),
            ("bytes=90-1000", Asked::Part(90..100)),
            ("bytes=-10", Asked::Part(90..100)),
            ("bytes=-1000", Asked::Part(0..100)),
            ("bytes=0-99999999999999999999999", Asked::Part(0..100)),
            ("bytes=100-", Asked::Beyond),
            ("bytes=99999999999999999999999-", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
            ("bytes=20-10", Asked::Whole),
            ("bytes=0-1,5-6", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("lines=0-1", Asked::Whole),
            ("", Asked::Whole),
        ] {
            assert_eq!(asks(&[(RANGE, range)]), expected, "{range}");
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent_and_a_part_only_of_what_it_has() {
        for known in ["\"e\"", "\"a\", W/\"e\"", "*"] {
            assert_eq!(asks(&[(IF_NONE_MATCH, known), (RANGE, "bytes=0-1")]), Asked::Nothing, "{known}");
        }
        assert_eq!(asks(&[(IF_NONE_MATCH, "\"other\"")]), Asked::Whole);
        assert_eq!(asks(&[(IF_RANGE, ETAG), (RANGE, "bytes=0-1")]), Asked::Part(0..2));
        for other in ["\"other\"", "W/\"e\"", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(asks(&[(IF_RANGE, other), (RANGE, "bytes=0-1")]), Asked::Whole, "{other}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(disposition("a b.png"), "attachment; filename=\"a b.png\"; filename*=UTF-8''a%20b.png");
        assert_eq!(
            disposition("\"ø;.png"),
            "attachment; filename=\"__;.png\"; filename*=UTF-8''%22%C3%B8%3B.png".replace("__;", "___")
        );
        assert!(disposition("a\r\nb\\").is_ascii());
        assert!(!disposition("a\r\nb\\").contains(['\r', '\n', '\\']));
    }
}
