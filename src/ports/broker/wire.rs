//! How an envelope looks between two nodes: fixed fields, then the frame as it is.
//!
//! Version 1: one byte `1`, event id (16 bytes), user id (16), seq (8, big-endian), frame. Probes are one
//! byte `0` and a number (8). Unknown versions are dropped: the sweeper delivers what they carried.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use uuid::Uuid;

use super::Envelope;
use crate::domain::ids::{EventId, UserId};

const PROBE: u8 = 0;
const ENVELOPE_V1: u8 = 1;
const HEADER_BYTES: usize = 1 + 16 + 16 + 8;

#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    Probe(u64),
    Envelope(Envelope),
}

pub fn encode(envelope: &Envelope) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_BYTES + envelope.frame.len());
    out.put_u8(ENVELOPE_V1);
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
    match *bytes.first()? {
        PROBE if bytes.len() == 9 => Some(Message::Probe(bytes.slice(1..).get_u64())),
        ENVELOPE_V1 if bytes.len() >= HEADER_BYTES => {
            bytes.advance(1);
            let event = EventId(uuid(&mut bytes));
            let user = UserId(uuid(&mut bytes));
            let seq = bytes.get_i64();
            Some(Message::Envelope(Envelope { event, user, seq, frame: bytes }))
        }
        _ => None,
    }
}

fn uuid(bytes: &mut Bytes) -> Uuid {
    let mut id = [0; 16];
    bytes.copy_to_slice(&mut id);
    Uuid::from_bytes(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_survives_the_wire() {
        let envelope = Envelope {
            event: EventId::generate(),
            user: UserId::generate(),
            seq: 42,
            frame: Bytes::from_static(b"\x81\x02{}"),
        };
        assert_eq!(decode(encode(&envelope)), Some(Message::Envelope(envelope)));
    }

    #[test]
    fn what_is_not_understood_is_dropped() {
        for bytes in [&b""[..], b"\x01short", b"\x00", b"\xffwhatever this may be in a later version"] {
            assert_eq!(decode(Bytes::copy_from_slice(bytes)), None);
        }
    }
}
