//! Writes many frames to one client, as fast as it takes them, and not into a queue that has no place for them.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::delivery::mailbox::Mailbox;

/// What is written to a client at once.
const WRITE_FRAMES_MAX: usize = 64;
const WRITE_BYTES_MAX: usize = 64 * 1024;
/// Between two attempts, when this node has no memory.
const MEMORY_PAUSE: Duration = Duration::from_millis(250);

/// Returns whether all of it was written; it is given up when somebody does not want it any more.
pub async fn write(mailbox: &Mailbox, frames: &[Bytes], is_wanted: impl Fn() -> bool) -> bool {
    let mut rest = frames;
    while !rest.is_empty() {
        let (some, later) = rest.split_at(at_once(rest));
        if !is_wanted() {
            return false;
        }
        let (some, written) = watched(some);
        while !mailbox.leave(some.iter()) {
            sleep(MEMORY_PAUSE).await;
        }
        drop(some);
        // It never comes: it ends, when the frames are written or given up.
        let _ended: Result<Infallible, _> = written.await;
        rest = later;
    }
    true
}

/// How many of these frames are written at once; at least one.
fn at_once(frames: &[Bytes]) -> usize {
    let mut bytes = 0;
    let fits = |frame: &&Bytes| {
        bytes += frame.len();
        bytes <= WRITE_BYTES_MAX
    };
    frames.iter().take(WRITE_FRAMES_MAX).take_while(fits).count().max(1)
}

/// The same frames, and what ends when the last of them is no more.
fn watched(frames: &[Bytes]) -> (Vec<Bytes>, oneshot::Receiver<Infallible>) {
    struct Watched {
        frame: Bytes,
        _end: oneshot::Sender<Infallible>,
    }
    impl AsRef<[u8]> for Watched {
        fn as_ref(&self) -> &[u8] {
            &self.frame
        }
    }
    let (end, written) = oneshot::channel();
    let mut frames = frames.to_vec();
    if let Some(last) = frames.pop() {
        frames.push(Bytes::from_owner(Watched { frame: last, _end: end }));
    }
    (frames, written)
}
