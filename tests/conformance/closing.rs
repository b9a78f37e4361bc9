//! Section 7: how a connection ends.

use crate::case::{Case, Cut, run, text_echo};
use crate::wire::{CLOSE, FIN, TEXT, close, fragments, frame, ping, text};

const HELLO: &str = "Hello World!";

#[tokio::test]
async fn case_7_1_nothing_counts_after_a_close() {
    let normal = || 1000_u16.to_be_bytes().to_vec();
    let closed = |number, mut frames: Vec<Vec<u8>>, answers| {
        let at = frames.len() - 1;
        frames.insert(at, close(1000, ""));
        Case::closed(number, frames, answers, normal()).cut(Cut::Frames)
    };
    let [first, second] = fragments(TEXT, &["fragment1", "fragment2"]).try_into().unwrap();
    let long = "BAsd7&jh23".repeat(26_214);
    run([
        closed("7.1.1", vec![text(HELLO), vec![]], vec![text_echo(HELLO)]),
        closed("7.1.2", vec![close(1000, "")], vec![]),
        closed("7.1.3", vec![ping("")], vec![]),
        closed("7.1.4", vec![text(HELLO)], vec![]),
        closed("7.1.5", vec![first, second], vec![]),
        closed("7.1.6", vec![text(&long), text(HELLO)], vec![text_echo(&long)]),
    ])
    .await;
}

#[tokio::test]
async fn case_7_3_what_a_close_frame_may_hold() {
    let code = || 1000_u16.to_be_bytes().to_vec();
    let answered = |number, frame, end| Case::closed(number, vec![frame], vec![], end);
    let refused = |number, code, frame| Case::refused(number, code, vec![frame], vec![]);
    run([
        answered("7.3.1", frame(FIN | CLOSE, b""), vec![]),
        refused("7.3.2", 1002, frame(FIN | CLOSE, b"a")),
        answered("7.3.3", close(1000, ""), code()),
        answered("7.3.4", close(1000, HELLO), code()),
        answered("7.3.5", close(1000, "*".repeat(123)), code()),
        refused("7.3.6", 1002, close(1000, "*".repeat(124))),
        refused(
            "7.5.1",
            1007,
            close(1000, b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80edited"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn case_7_7_codes_that_may_be_sent() {
    let valid =
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    let code = |code: u16| {
        Case::closed(format!("7.7 {code}"), vec![close(code, "")], vec![], code.to_be_bytes().to_vec())
    };
    run(valid.map(code)).await;
}

#[tokio::test]
async fn case_7_9_codes_that_may_not() {
    let invalid = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    run(invalid.map(|code| Case::refused(format!("7.9 {code}"), 1002, vec![close(code, "")], vec![]))).await;
}

#[tokio::test]
async fn a_close_frame_arrives_although_much_more_was_on_its_way() {
    let flood = text("*".repeat(1024 * 1024));
    run([
        Case::refused("refused", 1002, vec![frame(FIN | 3, b""), flood.clone(), flood.clone()], vec![]),
        Case::closed(
            "closed",
            vec![close(3000, ""), flood.clone(), flood],
            vec![],
            3000_u16.to_be_bytes().into(),
        ),
    ])
    .await;
}
