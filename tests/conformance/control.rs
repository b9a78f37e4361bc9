//! Section 2: pings and pongs.

use crate::case::{Case, Cut, pong_with, run};
use crate::wire::{ping, pong};

#[tokio::test]
async fn case_2_pings_and_pongs() {
    let answered = |number, payload: &[u8]| Case::kept(number, vec![ping(payload)], vec![pong_with(payload)]);
    let ten = || (0..10).map(|number| format!("payload-{number}")).collect::<Vec<_>>();
    let ten_pings =
        |number| Case::kept(number, ten().iter().map(ping).collect(), ten().iter().map(pong_with).collect());
    run([
        answered("2.1", b""),
        answered("2.2", b"Hello, world!"),
        answered("2.3", &[0x00, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0x00, 0xFF]),
        answered("2.4", &[0xFE; 125]),
        Case::refused("2.5", 1002, vec![ping([0xFE; 126])], vec![]),
        answered("2.6", &[0xFE; 125]).cut(Cut::Every(1)),
        Case::kept("2.7", vec![pong("")], vec![]),
        Case::kept("2.8", vec![pong("unsolicited pong payload")], vec![]),
        Case::kept("2.9", vec![pong("unsolicited"), ping("ping payload")], vec![pong_with("ping payload")]),
        ten_pings("2.10"),
        ten_pings("2.11").cut(Cut::Every(1)),
    ])
    .await;
}
