//! What happens in a room, on its way to those who subscribe.

use bytes::Bytes;

use crate::domain::ids::UserId;

/// Something that has a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Frame(Bytes),
    /// The user is not a member any more.
    Expelled(UserId),
}

/// Worth something only now. If it is about one user, who need not hear it, that is `except`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passing {
    pub except: Option<UserId>,
    pub frame: Bytes,
}

/// For everybody who has been told all up to `after`: then they have been told all up to `up_to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub after: i64,
    pub up_to: i64,
    /// In order.
    pub frames: Vec<(i64, Bytes)>,
}

impl Batch {
    /// A mailbox that is read takes so much, however little it may hold.
    pub const BYTES_MAX: usize = 64 * 1024;

    /// The same in parts that are not larger, if they have more than one frame.
    pub fn parts(self) -> Vec<Self> {
        let Self { mut after, up_to, frames } = self;
        let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (revision, frame) in frames {
            if bytes + frame.len() > Self::BYTES_MAX
                && let Some((last, _)) = part.last()
            {
                let last = *last;
                parts.push(Self { after, up_to: last, frames: std::mem::take(&mut part) });
                (after, bytes) = (last, 0);
            }
            bytes += frame.len();
            part.push((revision, frame));
        }
        parts.push(Self { after, up_to, frames: part });
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_small_and_follow_each_other() {
        let frame = |bytes| Bytes::from(vec![b'.'; bytes]);
        let sizes = [30_000, 30_000, 30_000, 100_000, 10, 10];
        let frames: Vec<(i64, Bytes)> = (4..).zip(sizes.map(frame)).collect();
        let parts = Batch { after: 3, up_to: 12, frames: frames.clone() }.parts();

        let bounds: Vec<(i64, i64, usize)> =
            parts.iter().map(|part| (part.after, part.up_to, part.frames.len())).collect();
        assert_eq!(bounds, [(3, 5, 2), (5, 6, 1), (6, 7, 1), (7, 12, 2)]);
        assert_eq!(parts.into_iter().flat_map(|part| part.frames).collect::<Vec<_>>(), frames);
        let nothing = Batch { after: 3, up_to: 4, frames: Vec::new() };
        assert_eq!(nothing.clone().parts(), [nothing]);
    }
}
