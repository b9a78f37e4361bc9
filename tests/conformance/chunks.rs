//! However messages are cut into fragments, and these into segments, the same messages are read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanlight::edge::ws::socket::{Limits, Message, ReadError, Reader};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;

use crate::wire::{BINARY, PATIENCE, TEXT, close, fragments, ping, pong};

const LIMITS: Limits =
    Limits { message_bytes_max: 70_000, fragments_max: 64, assembly_timeout: Duration::from_secs(3_600) };

/// A message and where its fragments end; a control frame has none.
#[derive(Clone, Debug)]
struct Sent {
    message: Message,
    /// In parts of the whole.
    ends: Vec<prop::sample::Index>,
    /// Stands between the fragments.
    between: Vec<Message>,
}

impl Sent {
    fn frames(&self) -> Vec<Vec<u8>> {
        let (opcode, payload): (u8, &[u8]) = match &self.message {
            Message::Text(text) => (TEXT, text.as_bytes()),
            Message::Binary(payload) => (BINARY, payload),
            control => return vec![control_frame(control)],
        };
        let mut ends: Vec<usize> = self.ends.iter().map(|end| end.index(payload.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(payload.len());
        let begins = [0].into_iter().chain(ends.iter().copied());
        let parts: Vec<&[u8]> = begins.zip(&ends).map(|(begin, end)| &payload[begin..*end]).collect();
        let mut frames = fragments(opcode, &parts);
        for (at, control) in self.between.iter().enumerate().take(parts.len() - 1) {
            frames.insert(2 * at + 1, control_frame(control));
        }
        frames
    }

    /// In the order in which they are complete.
    fn messages(&self) -> Vec<Message> {
        let gaps =
            if matches!(self.message, Message::Text(_) | Message::Binary(_)) { self.ends.len() } else { 0 };
        self.between.iter().take(gaps).chain([&self.message]).cloned().collect()
    }
}

fn control_frame(message: &Message) -> Vec<u8> {
    match message {
        Message::Ping(payload) => ping(payload),
        Message::Pong(payload) => pong(payload),
        other => unreachable!("{other:?}"),
    }
}

fn control() -> impl Strategy<Value = Message> {
    let payload = || vec(any::<u8>(), 0..=125).prop_map(Bytes::from);
    prop_oneof![payload().prop_map(Message::Ping), payload().prop_map(Message::Pong)]
}

fn sent() -> impl Strategy<Value = Sent> {
    let length = || prop_oneof![8 => 0..300_usize, 1 => 60_000..70_000_usize];
    let text = (".{0,60}", 1..4_usize).prop_map(|(text, times)| Message::Text(text.repeat(times)));
    let binary =
        (any::<u8>(), length()).prop_map(|(byte, length)| Message::Binary(vec![byte; length].into()));
    let message = prop_oneof![3 => text, 2 => binary, 1 => control()];
    (message, vec(any::<prop::sample::Index>(), 0..6), vec(control(), 0..3))
        .prop_map(|(message, ends, between)| Sent { message, ends, between })
}

/// What a server reads from these bytes, when they come in segments of these sizes, over and over.
fn read(bytes: &[u8], segments: &[usize]) -> Vec<Result<Message, ReadError>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(segments.iter().copied().max().unwrap());
        let mut reader = Reader::new(server, LIMITS, Arc::default());
        let write = async {
            let mut rest = bytes;
            for segment in segments.iter().cycle() {
                let (now, later) = rest.split_at((*segment).min(rest.len()));
                if now.is_empty() || client.write_all(now).await.is_err() {
                    break;
                }
                rest = later;
                tokio::task::yield_now().await;
            }
            drop(client);
        };
        let receive = async {
            let mut messages = Vec::new();
            while messages.last().is_none_or(Result::is_ok) {
                messages.push(reader.message().await);
            }
            drop(reader);
            messages
        };
        tokio::time::timeout(PATIENCE, async { tokio::join!(write, receive).1 }).await.unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn however_messages_are_cut_they_are_read_as_sent(
        sent in vec(sent(), 1..6),
        segments in vec(prop_oneof![1..8_usize, 1..2_000_usize], 1..6),
    ) {
        let bytes = [sent.iter().flat_map(Sent::frames).collect::<Vec<_>>().concat(), close(1000, "")].concat();
        let expected = sent.iter().flat_map(Sent::messages).chain([Message::Close(Some(1000))]).map(Ok);
        let expected: Vec<_> = expected.chain([Err(ReadError::Gone)]).collect();
        prop_assert_eq!(read(&bytes, &segments), expected);
    }

    #[test]
    fn hostile_bytes_are_judged_alike_however_they_are_cut(
        sent in vec(sent(), 1..4),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        segments in vec(1..300_usize, 1..6),
    ) {
        let mut bytes: Vec<u8> = sent.iter().flat_map(Sent::frames).collect::<Vec<_>>().concat();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert_eq!(read(&bytes, &[bytes.len()]), read(&bytes, &segments));
    }
}
