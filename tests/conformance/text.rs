//! Section 6: text is UTF-8, and what is not is refused as soon as that can be known from whole frames.

use crate::case::{Case, Cut, run, text_echo};
use crate::wire::{FIN, TEXT, fragments, frame, text};

/// Greek, with a word that many suites use: κόσμε.
const COSMOS: &[u8] = b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5";
const BROKEN: &[u8] = b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80edited";

/// The sequences of each section, valid or not; Rust knows which.
const SEQUENCES: &[(&str, &[&[u8]])] = &[
    ("6.5 valid", &[COSMOS]),
    ("6.7 first of each length", &[b"\0", b"\xC2\x80", b"\xE0\xA0\x80", b"\xF0\x90\x80\x80"]),
    ("6.8 five and six bytes", &[b"\xF8\x88\x80\x80\x80", b"\xFC\x84\x80\x80\x80\x80"]),
    ("6.9 last of each length", &[b"\x7F", b"\xDF\xBF", b"\xEF\xBF\xBF", b"\xF4\x8F\xBF\xBF"]),
    ("6.10 beyond", &[b"\xF7\xBF\xBF\xBF", b"\xFB\xBF\xBF\xBF\xBF", b"\xFD\xBF\xBF\xBF\xBF\xBF"]),
    (
        "6.11 at the borders",
        &[b"\xED\x9F\xBF", b"\xEE\x80\x80", b"\xEF\xBF\xBD", b"\xF4\x8F\xBF\xBF", b"\xF4\x90\x80\x80"],
    ),
    (
        "6.12 lone continuations",
        &[b"\x80", b"\xBF", b"\x80\xBF", b"\x80\xBF\x80", b"\x80\xBF\x80\xBF", b"\x80\xBF\x80\xBF\x80\xBF"],
    ),
    (
        "6.13 lone beginnings",
        &[b"\xC0 \xC1 \xDF ", b"\xE0 \xEF ", b"\xF0 \xF7 ", b"\xF8 \xFB ", b"\xFC \xFD "],
    ),
    (
        "6.14 the last byte is missing",
        &[b"\xC0", b"\xE0\x80", b"\xF0\x80\x80", b"\xF8\x80\x80\x80", b"\xFC\x80\x80\x80\x80"],
    ),
    ("6.14 the last byte is missing", &[b"\xDF", b"\xEF\xBF", b"\xF7\xBF\xBF", b"\xFB\xBF\xBF\xBF"]),
    ("6.15 incomplete, joined", &[b"\xC0\xE0\x80\xF0\x80\x80\xF8\x80\x80\x80\xDF\xEF\xBF\xF7\xBF\xBF"]),
    ("6.16 impossible bytes", &[b"\xFE", b"\xFF", b"\xFE\xFE\xFF\xFF"]),
    (
        "6.17 too long for a slash",
        &[b"\xC0\xAF", b"\xE0\x80\xAF", b"\xF0\x80\x80\xAF", b"\xF8\x80\x80\x80\xAF"],
    ),
    ("6.18 longest overlong", &[b"\xC1\xBF", b"\xE0\x9F\xBF", b"\xF0\x8F\xBF\xBF", b"\xF8\x87\xBF\xBF\xBF"]),
    ("6.19 overlong zero", &[b"\xC0\x80", b"\xE0\x80\x80", b"\xF0\x80\x80\x80", b"\xF8\x80\x80\x80\x80"]),
    (
        "6.20 single surrogates",
        &[
            b"\xED\xA0\x80",
            b"\xED\xAD\xBF",
            b"\xED\xAE\x80",
            b"\xED\xAF\xBF",
            b"\xED\xB0\x80",
            b"\xED\xBF\xBF",
        ],
    ),
    ("6.21 surrogate pairs", &[b"\xED\xA0\x80\xED\xB0\x80", b"\xED\xAF\xBF\xED\xBF\xBF"]),
    (
        "6.22 no characters, but valid",
        &[b"\xEF\xBF\xBE", b"\xEF\xBF\xBF", b"\xF0\x9F\xBF\xBE", b"\xF0\xAF\xBF\xBF", b"\xF4\x8F\xBF\xBE"],
    ),
    ("6.23 specials", &[b"\xEF\xBF\xB9", b"\xEF\xBF\xBA", b"\xEF\xBF\xBB", b"\xEF\xBF\xBC", b"\xEF\xBF\xBD"]),
];

/// Whole, byte by byte on the wire, and with each byte a fragment.
fn every_way(number: &str, payload: &[u8]) -> [Case; 3] {
    let verdict = |way: &str, frames: Vec<Vec<u8>>| {
        let number = format!("{number} {way}");
        match std::str::from_utf8(payload) {
            Ok(text) => Case::kept(number, frames, vec![text_echo(text)]),
            Err(_) => Case::refused(number, 1007, frames, vec![]),
        }
    };
    let bytes: Vec<&[u8]> = if payload.is_empty() { vec![payload] } else { payload.chunks(1).collect() };
    [
        verdict("whole", vec![text(payload)]),
        verdict("chopped", vec![text(payload)]).cut(Cut::Every(1)),
        verdict("fragments", fragments(TEXT, &bytes)),
    ]
}

#[tokio::test]
async fn case_6_1_empty_messages_and_fragments() {
    let parts = |number, parts: [&str; 3]| {
        Case::kept(number, fragments(TEXT, &parts), vec![text_echo(parts.concat())])
    };
    run([
        Case::kept("6.1.1", vec![text("")], vec![text_echo("")]),
        parts("6.1.2", ["", "", ""]),
        parts("6.1.3", ["", "middle frame payload", ""]),
    ])
    .await;
}

#[tokio::test]
async fn case_6_2_characters_may_be_split_between_fragments() {
    let word = "Hello-µ@ßöäüàá-UTF-8!!";
    let at_a_character = fragments(TEXT, &["Hello-µ@ßöä", "üàá-UTF-8!!"]);
    let split = Case::kept("6.2.2", at_a_character, vec![text_echo(word)]);
    run(every_way("6.2.1/3", word.as_bytes()).into_iter().chain([split])).await;
    run(every_way("6.2.4", COSMOS)).await;
}

#[tokio::test]
async fn case_6_3_broken_text_is_refused() {
    run(every_way("6.3", BROKEN)).await;
}

#[tokio::test]
async fn case_6_4_broken_text_is_refused_before_its_message_ends() {
    // The message never ends: only who looks at each fragment refuses it.
    let begun = |number, parts: &[&[u8]]| {
        let mut frames = fragments(TEXT, parts);
        let last = frames.len() - 1;
        frames[last][0] &= !FIN;
        Case::refused(number, 1007, frames, vec![])
    };
    run([
        begun("6.4.1", &[COSMOS, b"\xF4\x90\x80\x80"]),
        begun("6.4.2", &[&[COSMOS, b"\xF4"].concat(), b"\x90"]),
        begun("6.4.2 at once", &[BROKEN]),
        begun("6.4.2 a character cut in three", &[b"\xF0", b"\x9F", b"\x92\xFF"]),
    ])
    .await;
    // Not yet wrong: the last fragment completes the character.
    let fine = fragments(TEXT, &[&b"\xF0"[..], b"\x9F", b"", b"\x92\xA9"]);
    run([Case::kept("6.4, completed", fine, vec![text_echo("\u{1F4A9}")])]).await;
    let cut_short = vec![frame(TEXT, b"\xF0"), frame(FIN, b"\x9F\x92")];
    run([Case::refused("6.4, cut short", 1007, cut_short, vec![])]).await;
}

#[tokio::test]
async fn case_6_6_every_beginning_of_a_word() {
    for length in 1..=COSMOS.len() {
        run(every_way(&format!("6.6.{length}"), &COSMOS[..length])).await;
    }
}

#[tokio::test]
async fn case_6_5_to_6_23_every_kind_of_sequence() {
    for (number, sequences) in SEQUENCES {
        for sequence in *sequences {
            run(every_way(number, sequence)).await;
        }
    }
}
