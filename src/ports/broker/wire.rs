//! How an envelope looks between two nodes: fixed fields, then the frame as it is.
//!
//! Version 1: one byte `1`, event id (16 bytes), user id (16), seq (8, big-endian), frame. Version 2, only of what is
//! traced: one byte `2`, then the trace (24), then as version 1. Probes are one byte `0` and a number (8).
//!
//! Unknown versions are dropped, and what they carried is repeated by a sweeper. It does so without the trace, in version
//! 1: while nodes of two versions run, those that know only that one must not miss the repetition, too.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use uuid::Uuid;

use super::Envelope;
use crate::domain::ids::{EventId, UserId};
use crate::telemetry::traces::TraceContext;

const PROBE: u8 = 0;
const ENVELOPE_V1: u8 = 1;
const ENVELOPE_V2: u8 = 2;
const VERSION_BYTES: usize = 1;
const HEADER_BYTES: usize = 16 + 16 + 8;

#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    Probe(u64),
    Envelope(Envelope),
}

pub fn encode(envelope: &Envelope) -> Bytes {
    let length = VERSION_BYTES + TraceContext::BYTES + HEADER_BYTES + envelope.frame.len();
    let mut out = BytesMut::with_capacity(length);
    match envelope.trace {
        None => out.put_u8(ENVELOPE_V1),
        Some(trace) => {
            out.put_u8(ENVELOPE_V2);
            out.put_slice(&trace.to_bytes());
        }
    }
    out.put_slice(envelope.event.0.as_bytes());
    out.put_slice(envelope.user.0.as_bytes());
    out.put_i64(envelope.seq);
    out.put_slice(&envelope.frame);
    out.freeze()
}

pub fn encode_probe(nonce: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(9);
    out.put_u8(PROBE);
    out.put_u64(nonce);
    out.freeze()
}

/// `None` for what this version does not understand.
pub fn decode(mut bytes: Bytes) -> Option<Message> {
    match bytes.try_get_u8().ok()? {
        PROBE if bytes.len() == size_of::<u64>() => Some(Message::Probe(bytes.get_u64())),
        ENVELOPE_V1 => envelope(bytes, None),
        ENVELOPE_V2 => {
            let mut trace = [0; TraceContext::BYTES];
            bytes.try_copy_to_slice(&mut trace).ok()?;
            envelope(bytes, TraceContext::from_bytes(trace))
        }
        _ => None,
    }
}

fn envelope(mut bytes: Bytes, trace: Option<TraceContext>) -> Option<Message> {
    if bytes.len() < HEADER_BYTES {
        return None;
    }
    let event = EventId(uuid(&mut bytes));
    let user = UserId(uuid(&mut bytes));
    let seq = bytes.get_i64();
    Some(Message::Envelope(Envelope { event, user, seq, trace, frame: bytes }))
}

fn uuid(bytes: &mut Bytes) -> Uuid {
    let mut id = [0; 16];
    bytes.copy_to_slice(&mut id);
    Uuid::from_bytes(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn sample(trace: Option<TraceContext>) -> Envelope {
        let frame = Bytes::from_static(b"\x81\x02{}");
        Envelope { event: EventId::generate(), user: UserId::generate(), seq: 42, trace, frame }
    }

    #[test]
    fn an_envelope_survives_the_wire_with_its_trace_and_without() {
        for trace in [None, Some(TRACE.parse().unwrap())] {
            let envelope = sample(trace);
            assert_eq!(decode(encode(&envelope)), Some(Message::Envelope(envelope)));
        }
    }

    /// Nodes that know nothing of traces read it.
    #[test]
    fn what_is_not_traced_is_sent_in_version_1() {
        let envelope = sample(None);
        let expected = [
            &[1][..],
            envelope.event.0.as_bytes(),
            envelope.user.0.as_bytes(),
            &42_i64.to_be_bytes(),
            &envelope.frame,
        ];
        assert_eq!(encode(&envelope), expected.concat());
        assert_eq!(encode(&sample(Some(TRACE.parse().unwrap())))[0], 2);
    }

    #[test]
    fn what_is_not_understood_is_dropped() {
        let traced = encode(&sample(Some(TRACE.parse().unwrap())));
        let cut = &traced[..VERSION_BYTES + TraceContext::BYTES + HEADER_BYTES - 1];
        for bytes in [
            &b""[..],
            b"\x01short",
            b"\x00",
            b"\x02short",
            cut,
            b"\xffwhatever this may be in a later version",
        ] {
            assert_eq!(decode(Bytes::copy_from_slice(bytes)), None);
        }
    }

    #[test]
    fn an_envelope_with_a_trace_that_is_none_is_an_envelope() {
        let envelope = sample(Some(TRACE.parse().unwrap()));
        let mut bytes = encode(&envelope).to_vec();
        bytes[VERSION_BYTES..][..TraceContext::BYTES].fill(0);
        let without = Envelope { trace: None, ..envelope };
        assert_eq!(decode(bytes.into()), Some(Message::Envelope(without)));
    }
}
