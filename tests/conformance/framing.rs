//! Section 1: messages of every length class, whole and in pieces.

use crate::case::{Case, Cut, binary_echo, run, text_echo};
use crate::wire::{binary, text};

const LENGTHS: [usize; 7] = [0, 125, 126, 127, 128, 65_535, 65_536];

#[tokio::test]
async fn case_1_1_text_of_every_length() {
    let cases = (1..).zip(LENGTHS).map(|(number, length)| {
        let payload = "*".repeat(length);
        Case::kept(format!("1.1.{number}"), vec![text(&payload)], vec![text_echo(&payload)])
    });
    let payload = "*".repeat(65_536);
    let chopped = Case::kept("1.1.8", vec![text(&payload)], vec![text_echo(&payload)]).cut(Cut::Every(997));
    run(cases.chain([chopped])).await;
}

#[tokio::test]
async fn case_1_2_binary_of_every_length() {
    let cases = (1..).zip(LENGTHS).map(|(number, length)| {
        let payload = vec![0xFE; length];
        Case::kept(format!("1.2.{number}"), vec![binary(&payload)], vec![binary_echo(&payload)])
    });
    let payload = vec![0xFE; 65_536];
    let chopped =
        Case::kept("1.2.8", vec![binary(&payload)], vec![binary_echo(&payload)]).cut(Cut::Every(997));
    run(cases.chain([chopped])).await;
}
