//! Sections 3 and 4: reserved bits and opcodes.

use crate::case::{Case, Cut, run, text_echo};
use crate::wire::{BINARY, CLOSE, FIN, PING, TEXT, frame, ping, text};

const HELLO: &str = "Hello, world!";

/// Something good, something reserved, and a ping that nobody may answer any more.
fn after_a_message(number: &str, first_byte: u8, payload: &[u8], cut: Cut) -> Case {
    let frames = vec![text(HELLO), frame(first_byte, payload), ping("")];
    Case::refused(number, 1002, frames, vec![text_echo(HELLO)]).cut(cut)
}

fn at_once(number: &str, first_byte: u8, payload: &[u8]) -> Case {
    Case::refused(number, 1002, vec![frame(first_byte, payload)], vec![])
}

#[tokio::test]
async fn case_3_reserved_bits() {
    let rsv = |bits: u8| FIN | bits << 4;
    run([
        at_once("3.1", rsv(1) | TEXT, HELLO.as_bytes()),
        after_a_message("3.2", rsv(2) | TEXT, HELLO.as_bytes(), Cut::Never),
        after_a_message("3.3", rsv(3) | TEXT, HELLO.as_bytes(), Cut::Frames),
        after_a_message("3.4", rsv(4) | TEXT, HELLO.as_bytes(), Cut::Every(1)),
        at_once("3.5", rsv(5) | BINARY, &[0, 0xFF, 0xFE]),
        at_once("3.6", rsv(6) | PING, HELLO.as_bytes()),
        at_once("3.7", rsv(7) | CLOSE, &1000_u16.to_be_bytes()),
    ])
    .await;
}

#[tokio::test]
async fn case_4_reserved_opcodes() {
    let hello = HELLO.as_bytes();
    run([
        at_once("4.1.1", FIN | 0x3, b""),
        at_once("4.1.2", FIN | 0x4, b"reserved opcode payload"),
        after_a_message("4.1.3", FIN | 0x5, b"", Cut::Never),
        after_a_message("4.1.4", FIN | 0x6, hello, Cut::Never),
        after_a_message("4.1.5", FIN | 0x7, hello, Cut::Every(1)),
        at_once("4.2.1", FIN | 0xB, b""),
        at_once("4.2.2", FIN | 0xC, b"reserved opcode payload"),
        after_a_message("4.2.3", FIN | 0xD, b"", Cut::Never),
        after_a_message("4.2.4", FIN | 0xE, hello, Cut::Never),
        after_a_message("4.2.5", FIN | 0xF, hello, Cut::Every(1)),
    ])
    .await;
}
