//! The HTTP stage: a client that is slow, or says too much, before it is a client.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::case::Echo;
use crate::wire::{PATIENCE, Peer};

#[tokio::test]
async fn a_client_that_drips_its_headers_is_not_waited_for() {
    let server = Echo::start(Duration::from_millis(300));
    for beginning in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: echo\r\n"] {
        let (mut reader, mut writer) = TcpStream::connect(server.address).await.unwrap().into_split();
        writer.write_all(beginning.as_bytes()).await.unwrap();
        let drip = async {
            let mut pause = tokio::time::interval(Duration::from_millis(20));
            while writer.write_all(b"X").await.is_ok() {
                pause.tick().await;
            }
        };
        let mut answer = Vec::new();
        // Cancel-safe: it all ends here.
        let ended = tokio::select! {
            ended = timeout(PATIENCE, reader.read_to_end(&mut answer)) => ended,
            () = drip => timeout(PATIENCE, reader.read_to_end(&mut answer)).await,
        };
        // By a reset, if the last drop was still on its way.
        let _kind_of_end = ended.expect("the server hangs up");
    }
}

#[tokio::test]
async fn headers_are_bounded_in_bytes_and_number() {
    let server = Echo::start(PATIENCE);
    let status = async |more: String| {
        let request = format!("GET / HTTP/1.1\r\nHost: echo\r\n{more}\r\n");
        Peer::ask(server.address, &request).await.1.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status("X: 0\r\n".repeat(60)).await, "426");
    assert_eq!(status("X: 0\r\n".repeat(64)).await, "431");
    assert_eq!(status(format!("X: {}\r\n", "x".repeat(12 * 1024))).await, "426");
    assert_eq!(status(format!("X: {}\r\n", "x".repeat(17 * 1024))).await, "431");
}
