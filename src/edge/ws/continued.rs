//! A stream whose beginning HTTP has read already, with the handshake.
//!
//! Freed once it is read: the connection may be idle for a day after it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

/// Reads `beginning`, then the stream.
pub struct Continued<R> {
    beginning: Bytes,
    stream: R,
}

impl<R> Continued<R> {
    pub fn new(beginning: Bytes, stream: R) -> Self {
        Self { beginning, stream }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Continued<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.beginning.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, space);
        }
        let length = self.beginning.len().min(space.remaining());
        space.put_slice(&self.beginning.split_to(length));
        if self.beginning.is_empty() {
            self.beginning = Bytes::new();
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
        let kept = Bytes::copy_from_slice(b"beginning, ");
        let mut stream = Continued::new(kept.clone(), &b"rest"[..]);
        let mut read = String::new();
        assert_eq!((&mut stream).take(5).read_to_string(&mut read).await.unwrap(), 5);
        assert!(!kept.is_unique());

        stream.read_to_string(&mut read).await.unwrap();

        assert_eq!(read, "beginning, rest");
        assert!(kept.is_unique());
    }
}
