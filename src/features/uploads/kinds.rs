//! Which types of files there are, and by what one knows them.
//!
//! A type is believed only if the file begins as all of that type do. What a browser would run (HTML, SVG, XML) is not
//! among them: no setting can let it in.

/// So many bytes tell each type. Text is judged by as many.
pub const HEAD_BYTES: usize = 512;

/// A type of files.
#[derive(Debug)]
pub struct Kind {
    pub content_type: &'static str,
    /// The endings that its names may have; the first is given to those with another.
    extensions: &'static [&'static str],
    begins: fn(&[u8]) -> bool,
}

const KINDS: [Kind; 10] = [
    kind("image/png", &["png"], |head| head.starts_with(b"\x89PNG\r\n\x1a\n")),
    kind("image/jpeg", &["jpg", "jpeg"], |head| head.starts_with(b"\xff\xd8\xff")),
    kind("image/gif", &["gif"], |head| head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a")),
    kind("image/webp", &["webp"], |head| head.starts_with(b"RIFF") && at(head, 8, b"WEBP")),
    kind("application/pdf", &["pdf"], |head| head.starts_with(b"%PDF-")),
    kind("video/mp4", &["mp4"], |head| at(head, 4, b"ftyp") && !at(head, 8, b"qt  ")),
    kind("video/webm", &["webm"], |head| {
        head.starts_with(b"\x1a\x45\xdf\xa3") && head.windows(7).any(|part| part == b"\x42\x82\x84webm")
    }),
    kind("audio/mpeg", &["mp3"], |head| {
        // A tag, or a frame of layer III.
        head.starts_with(b"ID3") || matches!(head, [0xff, second, ..] if second & 0xe6 == 0xe2)
    }),
    kind("audio/ogg", &["ogg", "oga", "opus"], |head| head.starts_with(b"OggS")),
    kind("text/plain", &["txt", "log", "md", "csv"], is_text),
];

const fn kind(
    content_type: &'static str,
    extensions: &'static [&'static str],
    begins: fn(&[u8]) -> bool,
) -> Kind {
    Kind { content_type, extensions, begins }
}

fn at(head: &[u8], offset: usize, magic: &[u8]) -> bool {
    head.get(offset..).is_some_and(|rest| rest.starts_with(magic))
}

/// UTF-8 without control characters, but for those of lines. The last character may be cut off.
fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && head.len() >= HEAD_BYTES => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    text.chars().all(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r' | '\x0c'))
}

impl Kind {
    pub fn named(content_type: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.content_type == content_type)
    }

    pub fn names() -> Vec<&'static str> {
        KINDS.iter().map(|kind| kind.content_type).collect()
    }

    /// Whether a file of this type begins so: with its first [`HEAD_BYTES`], or all of it.
    pub fn fits(&self, head: &[u8]) -> bool {
        (self.begins)(head)
    }

    /// The ending that the name lacks, if it has none of this type: a file must not be opened as something that it was
    /// not checked to be.
    pub fn missing_extension(&self, name: &str) -> Option<&'static str> {
        let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
        let fits = extension.is_some_and(|extension| self.extensions.contains(&extension.as_str()));
        if fits { None } else { Some(self.extensions[0]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: [(&str, &[u8]); 10] = [
        ("image/png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
        ("image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF"),
        ("image/gif", b"GIF89a\x01\0\x01\0"),
        ("image/webp", b"RIFF\x24\0\0\0WEBPVP8 "),
        ("application/pdf", b"%PDF-1.7\n"),
        ("video/mp4", b"\0\0\0\x18ftypisom\0\0\x02\0"),
        ("video/webm", b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm"),
        ("audio/mpeg", b"\xff\xfb\x90\x64\0"),
        ("audio/ogg", b"OggS\0\x02\0\0"),
        ("text/plain", "Hællo\n".as_bytes()),
    ];

    #[test]
    fn each_type_is_known_by_its_beginning_and_by_no_other() {
        assert_eq!(SAMPLES.map(|(name, _)| name).to_vec(), Kind::names());
        for (name, head) in SAMPLES {
            let fitting = KINDS.iter().filter(|kind| kind.fits(head)).map(|kind| kind.content_type);
            // What is only ASCII may be text as well.
            let fitting: Vec<_> =
                fitting.filter(|fitting| *fitting == name || *fitting != "text/plain").collect();
            assert_eq!(fitting, [name]);
        }
    }

    #[test]
    fn what_begins_otherwise_is_of_no_type() {
        let others: [&[u8]; 6] = [
            b"<html>%PDF-1.7",
            b"\0\0\0\x14ftypqt  ",
            b"RIFF\x24\0\0\0WAVE",
            b"MZ\x90\0",
            b"PK\x03\x04",
            b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>\0",
        ];
        for head in others {
            let fitting = KINDS.iter().filter(|kind| kind.fits(head)).map(|kind| kind.content_type);
            // What a browser would run is text as long as nobody calls it anything else.
            assert!(fitting.clone().all(|fitting| fitting == "text/plain"), "{head:?}");
        }
    }

    #[test]
    fn text_may_be_cut_within_a_character_only_where_it_goes_on() {
        let text = "ø".repeat(HEAD_BYTES);
        assert!(is_text(&text.as_bytes()[2..HEAD_BYTES + 2]));
        assert!(is_text(&[b"a", &text.as_bytes()[..HEAD_BYTES - 1]].concat()));
        assert!(!is_text(&text.as_bytes()[..3]));
        assert!(!is_text(b"a\0b"));
        assert!(!is_text(b"a\x1b[31m"));
    }

    #[test]
    fn a_name_ends_as_its_type_does() {
        let png = Kind::named("image/png").unwrap();
        assert_eq!(png.missing_extension("a.PNG"), None);
        for name in ["a", "a.html", "a.png.exe", "png", "a.png."] {
            assert_eq!(png.missing_extension(name), Some("png"), "{name}");
        }
    }
}
