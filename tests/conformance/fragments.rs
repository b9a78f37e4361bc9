//! Section 5: fragmentation.

use crate::case::{Case, Cut, pong_with, run, text_echo};
use crate::wire::{CONTINUATION, FIN, PING, PONG, TEXT, fragments, frame, ping, text};

const CUTS: [Cut; 3] = [Cut::Never, Cut::Frames, Cut::Every(1)];

fn two_fragments() -> Vec<Vec<u8>> {
    fragments(TEXT, &["fragment1", "fragment2"])
}

#[tokio::test]
async fn case_5_1_control_frames_are_never_fragmented() {
    let fragmented = |number, opcode| {
        let frames = vec![frame(opcode, b"fragment1"), frame(FIN | CONTINUATION, b"fragment2")];
        Case::refused(number, 1002, frames, vec![])
    };
    run([fragmented("5.1", PING), fragmented("5.2", PONG)]).await;
}

#[tokio::test]
async fn case_5_3_a_message_is_its_fragments() {
    let plain = ["5.3", "5.4", "5.5"].into_iter().zip(CUTS).map(|(number, cut)| {
        Case::kept(number, two_fragments(), vec![text_echo("fragment1fragment2")]).cut(cut)
    });
    let interleaved = ["5.6", "5.7", "5.8"].into_iter().zip(CUTS).map(|(number, cut)| {
        let mut frames = two_fragments();
        frames.insert(1, ping("ping payload"));
        let answers = vec![pong_with("ping payload"), text_echo("fragment1fragment2")];
        Case::kept(number, frames, answers).cut(cut)
    });
    run(plain.chain(interleaved)).await;
}

#[tokio::test]
async fn case_5_9_nothing_goes_on_that_has_not_begun() {
    let numbers = ["5.9", "5.10", "5.11", "5.12", "5.13", "5.14"];
    let ways = [FIN | CONTINUATION, CONTINUATION].into_iter().flat_map(|byte| CUTS.map(|cut| (byte, cut)));
    let alone = numbers.into_iter().zip(ways).map(|(number, (first_byte, cut))| {
        let frames = vec![frame(first_byte, b"non-continuation payload"), text("Hello, world!")];
        Case::refused(number, 1002, frames, vec![]).cut(cut)
    });
    let ended =
        [two_fragments(), vec![frame(CONTINUATION, b"fragment3"), frame(FIN | TEXT, b"fragment4")]].concat();
    let again = |number, first_byte| {
        let round = [frame(first_byte, b"fragment1"), frame(FIN | TEXT, b"fragment2")];
        Case::refused(number, 1002, [round.clone(), round].concat(), vec![])
    };
    let after = [
        Case::refused("5.15", 1002, ended, vec![text_echo("fragment1fragment2")]),
        again("5.16", CONTINUATION),
        again("5.17", FIN | CONTINUATION),
    ];
    run(alone.chain(after)).await;
}

#[tokio::test]
async fn case_5_18_nothing_begins_before_the_end() {
    let frames = vec![frame(TEXT, b"fragment1"), frame(FIN | TEXT, b"fragment2")];
    run([Case::refused("5.18", 1002, frames, vec![])]).await;
}

#[tokio::test]
async fn case_5_19_many_fragments_with_pings_between() {
    let cases = ["5.19", "5.20"].into_iter().zip([Cut::Frames, Cut::Every(1)]).map(|(number, cut)| {
        let mut frames = fragments(TEXT, &["fragment1", "fragment2", "fragment3", "fragment4", "fragment5"]);
        frames.insert(2, ping("pongme 1!"));
        frames.insert(5, ping("pongme 2!"));
        let answers = vec![
            pong_with("pongme 1!"),
            pong_with("pongme 2!"),
            text_echo("fragment1fragment2fragment3fragment4fragment5"),
        ];
        Case::kept(number, frames, answers).cut(cut)
    });
    run(cases).await;
}
