//! A stream whose beginning HTTP has read already, with the handshake.
//!
//! Freed once it is read: the connection may be idle for a day after it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use crate::delivery::budget::{Held, Share};

/// Reads `beginning`, then the stream.
pub struct Continued<R> {
    beginning: Option<Beginning>,
    stream: R,
}

struct Beginning {
    bytes: Bytes,
    _held: Held,
}

impl<R> Continued<R> {
    pub fn new(bytes: Bytes, stream: R, share: &Arc<Share>) -> Self {
        let held = share.hold(bytes.len());
        let beginning = (!bytes.is_empty()).then_some(Beginning { bytes, _held: held });
        Self { beginning, stream }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Continued<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let Some(Beginning { bytes, .. }) = &mut self.beginning else {
            return Pin::new(&mut self.stream).poll_read(context, space);
        };
        let length = bytes.len().min(space.remaining());
        space.put_slice(&bytes.split_to(length));
        if bytes.is_empty() {
            self.beginning = None;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn the_beginning_is_read_first_and_then_freed() {
        let (kept, share) = (Bytes::copy_from_slice(b"beginning, "), Arc::default());
        let mut stream = Continued::new(kept.clone(), &b"rest"[..], &share);
        let mut read = String::new();
        assert_eq!((&mut stream).take(5).read_to_string(&mut read).await.unwrap(), 5);
        assert_eq!((kept.is_unique(), share.bytes()), (false, kept.len()));

        stream.read_to_string(&mut read).await.unwrap();

        assert_eq!(read, "beginning, rest");
        assert_eq!((kept.is_unique(), share.bytes()), (true, 0));
    }
}
