//! How a node says to the others what happened in a room.
//!
//! Version 1: one byte `1`, one for what it is, the node that says it (16 bytes), then: of a frame its revision (8,
//! big-endian) and the frame as it is; of an expulsion its revision and the user (16); of a head its revision; of what
//! passes the user who need not hear it (16; zeros: nobody), and the frame; of the end of a room its last frame. Unknown versions and words are dropped: a comparison with
//! Postgres finds what they said.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use uuid::Uuid;

use crate::delivery::rooms::change::{Change, Passing};
use crate::domain::ids::{NodeId, UserId};

const VERSION: u8 = 1;
const FRAME: u8 = 1;
const EXPELLED: u8 = 2;
const HEAD: u8 = 3;
const PASSING: u8 = 4;
const GONE: u8 = 5;
const UUID_BYTES: usize = 16;
const HEADER_BYTES: usize = 2 + UUID_BYTES;

/// What is said in a room's topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Change(i64, Change),
    /// There are changes up to this revision; whoever lacks some reads them.
    Head(i64),
    Passing(Passing),
    /// The room is no more; its last frame says why, if it is not empty.
    Gone(Bytes),
}

pub fn encode(node: NodeId, said: &Said) -> Bytes {
    let frame = match said {
        Said::Change(_, Change::Frame(frame)) | Said::Passing(Passing { frame, .. }) | Said::Gone(frame) => {
            &frame[..]
        }
        _ => b"",
    };
    let mut out = BytesMut::with_capacity(HEADER_BYTES + size_of::<i64>() + UUID_BYTES + frame.len());
    let word = match said {
        Said::Change(_, Change::Frame(_)) => FRAME,
        Said::Change(_, Change::Expelled(_)) => EXPELLED,
        Said::Head(_) => HEAD,
        Said::Passing(_) => PASSING,
        Said::Gone(_) => GONE,
    };
    out.put_slice(&[VERSION, word]);
    out.put_slice(node.0.as_bytes());
    if let Said::Change(revision, _) | Said::Head(revision) = said {
        out.put_i64(*revision);
    }
    match said {
        Said::Change(_, Change::Expelled(user)) => out.put_slice(user.0.as_bytes()),
        Said::Passing(Passing { except, .. }) => {
            out.put_slice(except.map_or(Uuid::nil(), |user| user.0).as_bytes());
        }
        _ => {}
    }
    out.put_slice(frame);
    out.freeze()
}

/// Who says what; `None` for what this version does not understand.
pub fn decode(mut bytes: Bytes) -> Option<(NodeId, Said)> {
    if bytes.try_get_u8().ok()? != VERSION {
        return None;
    }
    let word = bytes.try_get_u8().ok()?;
    let node = NodeId(uuid(&mut bytes)?);
    let said = match word {
        FRAME => Said::Change(bytes.try_get_i64().ok()?, Change::Frame(bytes)),
        EXPELLED => Said::Change(bytes.try_get_i64().ok()?, Change::Expelled(UserId(uuid(&mut bytes)?))),
        HEAD => Said::Head(bytes.try_get_i64().ok()?),
        PASSING => {
            let except = uuid(&mut bytes)?;
            Said::Passing(Passing { except: (!except.is_nil()).then_some(UserId(except)), frame: bytes })
        }
        GONE => Said::Gone(bytes),
        _ => return None,
    };
    Some((node, said))
}

/// The frame of a change and the node that says it, for who only looks on.
#[must_use]
pub fn frame_of(bytes: Bytes) -> Option<(NodeId, Bytes)> {
    match decode(bytes)? {
        (node, Said::Change(_, Change::Frame(frame))) => Some((node, frame)),
        _ => None,
    }
}

fn uuid(bytes: &mut Bytes) -> Option<Uuid> {
    let mut id = [0; UUID_BYTES];
    bytes.try_copy_to_slice(&mut id).ok()?;
    Some(Uuid::from_bytes(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Said> {
        let (user, frame) = (UserId::generate(), Bytes::from_static(b"\x81\x02{}"));
        vec![
            Said::Change(7, Change::Frame(frame.clone())),
            Said::Change(8, Change::Expelled(user)),
            Said::Head(9),
            Said::Passing(Passing { except: Some(user), frame: frame.clone() }),
            Said::Passing(Passing { except: None, frame: frame.clone() }),
            Said::Gone(frame),
        ]
    }

    #[test]
    fn all_that_is_said_survives_the_wire() {
        let node = NodeId::generate();
        for said in all() {
            assert_eq!(decode(encode(node, &said)), Some((node, said)));
        }
    }

    #[test]
    fn what_is_not_understood_is_dropped() {
        let node = NodeId::generate();
        for said in all() {
            let bytes = encode(node, &said);
            assert_eq!(decode(bytes.slice(..HEADER_BYTES - 1)), None);
            let mut later = bytes.to_vec();
            later[0] = 2;
            assert_eq!(decode(later.into()), None);
        }
        let mut unknown = encode(node, &Said::Gone(Bytes::new())).to_vec();
        unknown[1] = 99;
        assert_eq!(decode(unknown.into()), None);
        assert_eq!(decode(Bytes::new()), None);
        assert_eq!(decode(encode(node, &Said::Head(1)).slice(..HEADER_BYTES + 7)), None);
    }
}
