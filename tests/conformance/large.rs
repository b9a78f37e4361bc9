//! Sections 9 and 10: large messages, many fragments, many messages; and one byte too many.

use crate::case::{Case, Cut, MESSAGE_BYTES_MAX, binary_echo, run, text_echo};
use crate::wire::{BINARY, FIN, TEXT, binary, fragments, frame, text};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn payload(length: usize) -> Vec<u8> {
    b"BAsd7&jh23".iter().copied().cycle().take(length).collect()
}

#[tokio::test]
async fn case_9_1_large_messages() {
    for (number, length) in (1..).zip([64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB]) {
        let payload = payload(length);
        run([
            Case::kept(format!("9.1.{number}"), vec![text(&payload)], vec![text_echo(&payload)]),
            Case::kept(format!("9.2.{number}"), vec![binary(&payload)], vec![binary_echo(&payload)]),
        ])
        .await;
    }
}

#[tokio::test]
async fn case_9_3_many_fragments() {
    let payload = payload(4 * MIB);
    for (number, length) in (1..).zip([64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB]) {
        let parts: Vec<&[u8]> = payload.chunks(length).collect();
        run([
            Case::kept(format!("9.3.{number}"), fragments(TEXT, &parts), vec![text_echo(&payload)]),
            Case::kept(format!("9.4.{number}"), fragments(BINARY, &parts), vec![binary_echo(&payload)]),
        ])
        .await;
    }
}

#[tokio::test]
async fn case_9_5_a_large_message_in_small_pieces() {
    let payload = payload(MIB);
    for (number, length) in (1..).zip([64, 128, 256, 512, 1_024, 2_048]) {
        let cut = Cut::Every(length);
        run([
            Case::kept(format!("9.5.{number}"), vec![text(&payload)], vec![text_echo(&payload)]).cut(cut),
            Case::kept(format!("9.6.{number}"), vec![binary(&payload)], vec![binary_echo(&payload)]).cut(cut),
        ])
        .await;
    }
}

#[tokio::test]
async fn case_9_7_many_messages() {
    for (number, length) in (1..).zip([0, 16, 64, 256, 1_024, 4_096]) {
        let payload = payload(length);
        let (texts, binaries) = (vec![text(&payload); 1_000], vec![binary(&payload); 1_000]);
        run([
            Case::kept(format!("9.7.{number}"), texts, vec![text_echo(&payload); 1_000]),
            Case::kept(format!("9.8.{number}"), binaries, vec![binary_echo(&payload); 1_000]),
        ])
        .await;
    }
}

#[tokio::test]
async fn case_10_1_1_fragments_of_a_size_that_fits_nothing() {
    let payload = payload(64 * KIB);
    let parts: Vec<&[u8]> = payload.chunks(1_300).collect();
    run([Case::kept("10.1.1", fragments(TEXT, &parts), vec![text_echo(&payload)])]).await;
}

#[tokio::test]
async fn a_message_that_is_too_big_is_refused_in_whatever_form() {
    let too_big = payload(MESSAGE_BYTES_MAX + 1);
    let parts: Vec<&[u8]> = too_big.chunks(MIB).collect();
    let mut only_claimed = frame(FIN | TEXT, b"");
    only_claimed.splice(1.., [0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]);
    run([
        Case::refused("whole", 1009, vec![text(&too_big)], vec![]),
        Case::refused("in fragments", 1009, fragments(BINARY, &parts), vec![]),
        Case::refused("only claimed", 1009, vec![only_claimed], vec![]),
    ])
    .await;
}
