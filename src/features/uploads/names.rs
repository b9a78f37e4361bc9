//! What a file is called, fit to be shown: never a path, and nothing in it that a terminal or a browser would obey.

use crate::features::uploads::kinds::Kind;

pub const NAME_CHARS_MAX: usize = 255;
const NAMELESS: &str = "file";

/// Characters that turn the writing around: `exe.gpj` that reads as `jpg.exe`.
const fn turns_the_writing(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The last part of what a client calls it, with an ending of its type.
pub fn shown(asked: &str, kind: &Kind) -> String {
    let last = asked.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last.chars().filter(|c| !c.is_control() && !turns_the_writing(*c)).collect();
    // What begins with a dot would be hidden; some systems drop those at the end.
    let clean = clean.trim_matches(|c: char| c.is_whitespace() || c == '.');
    let name = if clean.is_empty() { NAMELESS } else { clean };
    let Some(extension) = kind.missing_extension(name) else { return name.to_owned() };
    let stem: String = name.chars().take(NAME_CHARS_MAX - extension.len() - 1).collect();
    format!("{stem}.{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_path_and_obeys_nobody() {
        let png = Kind::named("image/png").unwrap();
        for (asked, expected) in [
            ("photo.png", "photo.png"),
            ("Ærø 1.PNG", "Ærø 1.PNG"),
            ("../../etc/passwd", "passwd.png"),
            ("C:\\temp\\photo.png", "photo.png"),
            ("..", "file.png"),
            ("/", "file.png"),
            ("", "file.png"),
            (".hidden.png", "hidden.png"),
            ("a\0b\r\nSet-Cookie: c.png", "abSet-Cookie: c.png"),
            ("a\u{202e}gnp.exe", "agnp.exe.png"),
            ("\u{7f}\u{9b}31m.png", "31m.png"),
            ("photo.png.html", "photo.png.html.png"),
        ] {
            assert_eq!(shown(asked, png), expected, "{asked:?}");
        }
    }

    #[test]
    fn a_name_is_never_longer_than_it_may_be() {
        let png = Kind::named("image/png").unwrap();
        let long = shown(&"ø".repeat(NAME_CHARS_MAX), png);
        assert_eq!(long.chars().count(), NAME_CHARS_MAX);
        assert!(long.ends_with("ø.png"));
    }
}
