//! What is accepted in each field of an account.

#![expect(clippy::trivially_copy_pass_by_ref, reason = "garde passes its context by reference")]

use utoipa::ToSchema;

use super::model::Change;

/// [`is_name`], for the API document.
#[derive(ToSchema)]
#[schema(
    max_length = 100,
    pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct Name(String);

/// What [`is_text`] takes of who logs in, for the API document.
#[derive(ToSchema)]
#[schema(
    max_length = 256,
    pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct AccountName(String);

/// Whether `text` can be a username. Those that are also a path below `/users` are not.
pub fn is_valid_username(text: &str) -> bool {
    const RESERVED: [&str; 2] = ["login", "register"];
    (3..=50).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        && !RESERVED.iter().any(|reserved| text.eq_ignore_ascii_case(reserved))
}

pub fn is_username(text: &str, (): &()) -> garde::Result {
    check(is_valid_username(text), "3..50 letters, digits, `_`, `.` or `-`, and not a reserved word")
}

/// Postgres stores no NUL, and no name holds a line break.
pub fn is_text(text: &str, (): &()) -> garde::Result {
    let is_text = !text.trim().is_empty() && !text.chars().any(char::is_control);
    check(is_text, "not blank, and without control characters")
}

pub fn is_name(text: &str, (): &()) -> garde::Result {
    check(text.chars().count() <= 100, "at most 100 characters")?;
    is_text(text, &())
}

pub fn is_phone_number(text: &str, (): &()) -> garde::Result {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let is_number = text.len() <= 32
        && digits >= 3
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"+ ()-./".contains(&byte));
    check(is_number, "a phone number of at most 32 characters")
}

/// Shown by other people's clients: never `javascript:` and the like.
pub fn is_web_url(text: &str, (): &()) -> garde::Result {
    let is_url = text.len() <= 2048
        && text.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("https" | "http"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
    check(is_url, "an http or https URL of at most 2048 characters")
}

pub fn is_color(text: &str, (): &()) -> garde::Result {
    let is_color = (1..=32).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'#' || byte == b'-');
    check(is_color, "a color name or #rrggbb")
}

/// The rule, for a field that is set.
pub fn set(rule: fn(&str, &()) -> garde::Result) -> impl FnOnce(&Change, &()) -> garde::Result {
    move |change, context| match change {
        Change::Set(text) => rule(text, context),
        Change::Keep | Change::Empty => Ok(()),
    }
}

fn check(is_valid: bool, rule: &str) -> garde::Result {
    if is_valid { Ok(()) } else { Err(garde::Error::new(rule)) }
}
