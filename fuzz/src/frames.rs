//! Frame reading: any bytes after the handshake.

use std::sync::Arc;
use std::time::Duration;

use fanlight::delivery::budget::Share;
use fanlight::edge::ws::socket::{Limits, Message, ReadError, Reader};
use tokio::io::AsyncWriteExt as _;

const LIMITS: Limits =
    Limits { message_bytes_max: 2_000, fragments_max: 8, assembly_timeout: Duration::from_secs(3_600) };
/// More messages than that are in no input worth the time.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// The buffer of `fastwebsockets`, which may double once, and a message of fragments.
const HELD_BYTES_MAX: usize = 16 * 1024 + 2 * LIMITS.message_bytes_max;

/// The first byte says how the rest is cut on its way.
///
/// However it is cut, the same messages are read; none is larger than allowed, and each text is one. What is counted of
/// the node's memory meanwhile is bounded, and given back.
///
/// # Panics
/// When that is not so.
pub fn frames(data: &[u8]) {
    let Some((&segment, bytes)) = data.split_first() else { return };
    let bytes = &bytes[..bytes.len().min(INPUT_BYTES_MAX)];
    let whole = read(bytes, INPUT_BYTES_MAX);
    for message in whole.iter().flatten() {
        let length = match message {
            Message::Text(text) => text.len(),
            Message::Binary(payload) => payload.len(),
            Message::Ping(payload) | Message::Pong(payload) => {
                assert!(payload.len() <= 125, "a control frame of {} bytes", payload.len());
                0
            }
            Message::Close(code) => {
                assert!(code.is_none_or(|code| code >= 1000), "close code {code:?}");
                0
            }
        };
        assert!(length <= LIMITS.message_bytes_max, "a message of {length} bytes");
    }
    assert_eq!(whole, read(bytes, usize::from(segment).max(1)), "in segments of {segment}");
}

fn read(bytes: &[u8], segment: usize) -> Vec<Result<Message, ReadError>> {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime without I/O needs nothing");
    }
    let conversation = async {
        let (mut client, server) = tokio::io::duplex(segment);
        let share = Arc::<Share>::default();
        let mut reader = Reader::new(server, LIMITS, Arc::clone(&share));
        let write = async {
            // Fails when the reader has had enough.
            let _refused = client.write_all(bytes).await;
            drop(client);
        };
        let receive = async move {
            let mut messages = Vec::new();
            while messages.last().is_none_or(Result::is_ok) {
                messages.push(reader.message().await);
                assert!(share.bytes() <= HELD_BYTES_MAX, "{} bytes are held", share.bytes());
            }
            drop(reader);
            assert_eq!(share.bytes(), 0, "what was held is given back");
            messages
        };
        tokio::join!(write, receive).1
    };
    RUNTIME.with(|runtime| runtime.block_on(conversation))
}
