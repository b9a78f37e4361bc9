//! What a message may hold, whichever way it comes.

use serde_json::Value;

use crate::domain::ids::UploadId;
use crate::features::messages::Config;
use crate::features::messages::error::MessagesError;
use crate::features::messages::model::{Draft, Edit, Metadata};

const CLIENT_ID_CHARS_MAX: usize = 128;
const EMOJI_CHARS_MAX: usize = 16;
const SHORT_NAME_BYTES_MAX: usize = 32;

/// What joins pictures and varies them: the joiner of families, variation selectors, the tags of flags.
const fn is_modifier(c: char) -> bool {
    matches!(c, '\u{200d}' | '\u{fe0e}' | '\u{fe0f}' | '\u{20e3}' | '\u{e0020}'..='\u{e007f}')
}

/// Where Unicode keeps its pictures, skin tones and the letters of flags among them. Wider than its tables, which grow each
/// year: what no font knows yet harms nobody.
const fn is_picture(c: char) -> bool {
    matches!(
        c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2190}'..='\u{2bff}'
            | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}'
    )
}

/// One emoji, or a short name of one, such as `+1`.
///
/// # Errors
/// For anything else.
pub fn check_emoji(emoji: &str) -> Result<(), MessagesError> {
    let is_short_name = (1..=SHORT_NAME_BYTES_MAX).contains(&emoji.len())
        && emoji.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'+' | b'-'));
    let mut chars = emoji.chars();
    let is_emoji = match chars.next() {
        // A keycap (UTS #51, ED-20).
        Some('0'..='9' | '#' | '*') => matches!(chars.as_str(), "\u{fe0f}\u{20e3}" | "\u{20e3}"),
        Some(first) => {
            is_picture(first)
                && chars.clone().count() < EMOJI_CHARS_MAX
                && chars.all(|c| is_picture(c) || is_modifier(c))
        }
        None => false,
    };
    if is_short_name || is_emoji { Ok(()) } else { Err(MessagesError::NoEmoji) }
}

/// # Errors
/// Which field is wrong, and what it may be.
pub fn check_draft(draft: &Draft, config: &Config) -> Result<(), MessagesError> {
    check_content(&draft.content, config)?;
    check_metadata(&draft.metadata, config)?;
    check_attachments(&draft.attachments, config)?;
    let Some(client_id) = &draft.client_id else { return Ok(()) };
    let is_short = (1..=CLIENT_ID_CHARS_MAX).contains(&client_id.chars().count());
    let is_key = is_short && !client_id.chars().any(char::is_control);
    check(is_key, || format!("clientId: 1..{CLIENT_ID_CHARS_MAX} printable characters"))
}

/// # Errors
/// Which field is wrong, and what it may be.
pub fn check_edit(edit: &Edit, config: &Config) -> Result<(), MessagesError> {
    check_content(&edit.content, config)?;
    edit.metadata.as_ref().map_or(Ok(()), |metadata| check_metadata(metadata, config))
}

fn check_content(content: &str, config: &Config) -> Result<(), MessagesError> {
    let max = config.content_chars_max;
    let fits = content.chars().count() <= max && !content.trim().is_empty() && !has_nul(content);
    check(fits, || format!("content: 1..{max} characters, not blank, none of them U+0000"))
}

fn check_metadata(metadata: &Metadata, config: &Config) -> Result<(), MessagesError> {
    let max = config.metadata_bytes_max;
    let bytes = serde_json::to_vec(metadata).map_or(usize::MAX, |json| json.len());
    let fits = bytes <= max && !metadata.iter().any(|(key, value)| has_nul(key) || holds_nul(value));
    check(fits, || format!("metadata: a JSON object of at most {max} bytes, without U+0000"))
}

fn check_attachments(attachments: &[UploadId], config: &Config) -> Result<(), MessagesError> {
    let max = config.attachments_max;
    let fits = attachments.len() <= max
        && !(1..attachments.len()).any(|at| attachments[..at].contains(&attachments[at]));
    check(fits, || format!("attachments: at most {max}, each once"))
}

/// Postgres stores no U+0000.
fn has_nul(text: &str) -> bool {
    text.contains('\0')
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => has_nul(text),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| has_nul(key) || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn check(fits: bool, rule: impl FnOnce() -> String) -> Result<(), MessagesError> {
    if fits { Ok(()) } else { Err(MessagesError::Invalid(rule())) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::ids::ChannelId;
    use crate::features::messages::model::MessageType;

    fn draft() -> Draft {
        Draft {
            attachments: Vec::new(),
            channel: ChannelId::generate(),
            content: "hello".into(),
            message_type: MessageType::Text,
            metadata: Metadata::new(),
            parent: None,
            client_id: None,
        }
    }

    fn config() -> Config {
        let mut settings: toml::Table = toml::from_str(crate::config::DEFAULT_TOML).unwrap();
        settings.remove("messages").unwrap().try_into().unwrap()
    }

    #[test]
    fn emoji_and_their_short_names_are_taken_and_nothing_else() {
        for emoji in ["👍", "❤️", "👩🏽‍💻", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🇩🇰", "1️⃣", "©️", "+1", "party_parrot", "100"]
        {
            assert!(check_emoji(emoji).is_ok(), "{emoji}");
        }
        let (crowd, name) = ("👍".repeat(17), "a".repeat(33));
        for other in ["", "Hello", "👍 ", "a👍", "<b>", "\u{200d}", "é", "\0", crowd.as_str(), name.as_str()]
        {
            assert!(check_emoji(other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn what_is_too_long_blank_or_cannot_be_stored_is_refused_by_name() {
        let config = config();
        let longest = "🦀".repeat(config.content_chars_max);
        assert!(check_draft(&Draft { content: longest.clone(), ..draft() }, &config).is_ok());
        let metadata = |value| Metadata::from_iter([("a".to_owned(), value)]);
        let upload = UploadId::generate();
        let many = (0..=config.attachments_max).map(|_| UploadId::generate()).collect();
        let refused = [
            (Draft { content: longest + "!", ..draft() }, "content"),
            (Draft { content: String::new(), ..draft() }, "content"),
            (Draft { content: " \n\u{3000}".into(), ..draft() }, "content"),
            (Draft { content: "a\0".into(), ..draft() }, "content"),
            (
                Draft { metadata: metadata(json!("x".repeat(config.metadata_bytes_max))), ..draft() },
                "metadata",
            ),
            (Draft { metadata: metadata(json!([{"b": "\0"}])), ..draft() }, "metadata"),
            (Draft { metadata: metadata(json!([{"\0": 1}])), ..draft() }, "metadata"),
            (Draft { client_id: Some(String::new()), ..draft() }, "clientId"),
            (Draft { client_id: Some("x".repeat(129)), ..draft() }, "clientId"),
            (Draft { client_id: Some("a\n".into()), ..draft() }, "clientId"),
            (Draft { attachments: vec![upload, upload], ..draft() }, "attachments"),
            (Draft { attachments: many, ..draft() }, "attachments"),
        ];
        for (draft, field) in refused {
            let error = check_draft(&draft, &config).unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
        // A backslash is no escape.
        assert!(check_draft(&Draft { metadata: metadata(json!(r"\u0000")), ..draft() }, &config).is_ok());
    }
}
