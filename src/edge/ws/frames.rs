//! Frames from a client, without a buffer while none is coming.
//!
//! `fastwebsockets` makes a buffer of 8 KiB at once and keeps it, which is most of what an idle connection would
//! cost. Here it exists from the first byte of a frame until all that was read has become frames, and counts as part of
//! the node's memory for just as long: a client may claim a large frame, and send it slowly or never.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use fastwebsockets::{Frame, OpCode, Role, WebSocket, WebSocketError};
use tokio::io::{AsyncRead, AsyncReadExt as _, Chain, Join, ReadBuf, Sink, Take};

use crate::delivery::budget::{Held, Share};

/// Read while no buffer is there, on the stack; most messages of clients fit.
const BEGINNING_BYTES: usize = 256;
/// What `fastwebsockets` begins with.
const BUFFER_BYTES: usize = 8 * 1024;
/// Read at once. `fastwebsockets` makes room for the next frame behind all that was read already: it would double its
/// buffer again and again for a client that sends many frames at once.
const READ_BYTES_MAX: u64 = 2 * 1024;

/// One frame, unmasked.
pub struct Received {
    pub fin: bool,
    pub opcode: OpCode,
    /// Whether it came masked, as it must.
    pub masked: bool,
    pub payload: BytesMut,
}

/// The frames on a stream. The futures are **not** cancel-safe: keep one until it returns.
pub struct Frames<R> {
    stage: Stage<R>,
    payload_bytes_max: usize,
    share: Arc<Share>,
}

enum Stage<R> {
    /// No byte of a frame is here.
    Idle(R),
    /// The next frame may have begun.
    Reading(Box<Buffered<R>>),
    /// A read failed, or was given up half-way.
    Spent,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub fn new(stream: R, payload_bytes_max: usize, share: Arc<Share>) -> Self {
        Self { stage: Stage::Idle(stream), payload_bytes_max, share }
    }

    /// What counts the memory of this connection.
    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// Takes payloads of up to this size, from the next frame on.
    pub fn allow(&mut self, payload_bytes_max: usize) {
        self.payload_bytes_max = payload_bytes_max;
        if let Stage::Reading(buffered) = &mut self.stage {
            buffered.allow(payload_bytes_max);
        }
    }

    /// # Errors
    /// When the stream ends or is not a sequence of frames; nothing can be read after it.
    pub async fn next(&mut self) -> Result<Received, WebSocketError> {
        let mut buffered = match std::mem::replace(&mut self.stage, Stage::Spent) {
            Stage::Idle(mut stream) => {
                let beginning = beginning(&mut stream).await?;
                let held = self.share.hold(BUFFER_BYTES);
                Box::new(Buffered::new(stream, beginning, self.payload_bytes_max, held))
            }
            Stage::Reading(buffered) => buffered,
            Stage::Spent => return Err(WebSocketError::ConnectionClosed),
        };
        let received = buffered.next().await?;
        self.stage =
            if buffered.is_empty() { Stage::Idle(buffered.into_stream()) } else { Stage::Reading(buffered) };
        Ok(received)
    }
}

/// Waits for bytes, and takes those that are there.
async fn beginning<R: AsyncRead + Unpin>(stream: &mut R) -> Result<Bytes, WebSocketError> {
    let bytes = poll_fn(|context| {
        let mut space = [0; BEGINNING_BYTES];
        let mut space = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut space))?;
        Poll::Ready(std::io::Result::Ok(Bytes::copy_from_slice(space.filled())))
    })
    .await?;
    if bytes.is_empty() { Err(WebSocketError::UnexpectedEOF) } else { Ok(bytes) }
}

/// What was read before, then the stream; what would be written is dropped.
type ReadOnly<R> = Join<Chain<std::io::Cursor<Bytes>, Counted<R>>, Sink>;

/// A stream with the buffer of `fastwebsockets`.
struct Buffered<R> {
    socket: WebSocket<ReadOnly<R>>,
    /// Bytes that the socket was given.
    given: Arc<AtomicUsize>,
    /// Bytes that became frames.
    used: usize,
}

impl<R: AsyncRead + Unpin> Buffered<R> {
    fn new(stream: R, beginning: Bytes, payload_bytes_max: usize, held: Held) -> Self {
        let given = Arc::new(AtomicUsize::new(beginning.len()));
        let rest = Counted { stream: stream.take(0), given: Arc::clone(&given), held };
        let stream = tokio::io::join(std::io::Cursor::new(beginning).chain(rest), tokio::io::sink());
        let mut socket = WebSocket::after_handshake(stream, Role::Server);
        socket.set_auto_close(false);
        socket.set_auto_pong(false);
        let mut buffered = Self { socket, given, used: 0 };
        buffered.allow(payload_bytes_max);
        buffered
    }

    fn allow(&mut self, payload_bytes_max: usize) {
        // Its test is `>=`, and it reserves the claimed length at once: this is also the guard of our memory.
        self.socket.set_max_message_size(payload_bytes_max + 1);
    }

    async fn next(&mut self) -> Result<Received, WebSocketError> {
        let mut frame = self.socket.read_frame().await?;
        let (fin, opcode, masked) = (frame.fin, frame.opcode, is_masked(&mut frame));
        let payload = into_bytes(frame);
        self.used += wire_bytes(payload.len(), masked);
        Ok(Received { fin, opcode, masked, payload })
    }

    /// A length may be written longer than needed; then this is never true, and the buffer stays.
    fn is_empty(&self) -> bool {
        self.used == self.given.load(Ordering::Relaxed)
    }

    fn into_stream(self) -> R {
        let (reading, _) = self.socket.into_inner().into_inner();
        reading.into_inner().1.stream.into_inner()
    }
}

/// Counts what is read, and the buffer that it is read into.
struct Counted<R> {
    stream: Take<R>,
    given: Arc<AtomicUsize>,
    held: Held,
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        // The buffer was made large enough for the frame before it is filled. It never gets smaller.
        self.held.grow_to(space.remaining());
        self.stream.set_limit(READ_BYTES_MAX);
        let before = space.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, space);
        self.given.fetch_add(space.filled().len() - before, Ordering::Relaxed);
        result
    }
}

/// The least that a frame takes on the wire (RFC 6455 §5.2).
fn wire_bytes(payload: usize, masked: bool) -> usize {
    let length = match payload {
        ..=125 => 0,
        126..=0xFFFF => 2,
        _ => 8,
    };
    2 + length + if masked { 4 } else { 0 } + payload
}

/// Whether the frame came masked: `fastwebsockets` shows that only in the header it would write.
fn is_masked(frame: &mut Frame<'_>) -> bool {
    const MASK_BIT: u8 = 0x80;
    let mut head = [0; 16];
    frame.fmt_head(&mut head);
    head[1] & MASK_BIT != 0
}

fn into_bytes(frame: Frame<'_>) -> BytesMut {
    match frame.payload {
        fastwebsockets::Payload::Bytes(bytes) => bytes,
        other => BytesMut::from(&*other),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;
    use tokio::io::{AsyncWriteExt as _, DuplexStream};

    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x82];
        match payload.len() {
            length @ ..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
            length => {
                bytes.push(0x80 | 0x7E);
                bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    fn is_idle<R>(frames: &Frames<R>) -> bool {
        matches!(frames.stage, Stage::Idle(_))
    }

    #[tokio::test]
    async fn however_the_bytes_arrive_the_frames_are_the_same() {
        let payloads: Vec<Vec<u8>> =
            [0, 1, 125, 126, 245, 246, 300, 5_000].iter().map(|length| vec![7; *length]).collect();
        let bytes: Vec<u8> = payloads.iter().flat_map(|payload| frame(payload)).collect();
        for chunk in [1, 2, 3, 7, 255, 256, 257, 4_096, bytes.len()] {
            let (mut client, server) = tokio::io::duplex(chunk);
            let mut frames = Frames::new(server, 65_536, Arc::default());
            let read = async {
                for payload in &payloads {
                    assert_eq!(frames.next().await.unwrap().payload, payload[..], "{chunk}");
                }
            };
            let (written, ()) = tokio::join!(client.write_all(&bytes), read);
            written.unwrap();
            assert!(is_idle(&frames), "{chunk}");
        }
    }

    #[tokio::test]
    async fn the_buffer_is_kept_while_a_frame_is_in_it() {
        let (mut client, server) = tokio::io::duplex(4_096);
        let mut frames = Frames::new(server, 65_536, Arc::default());
        let (first, second) = (frame(b"first"), frame(b"second"));

        client.write_all(&[&first[..], &second[..3]].concat()).await.unwrap();
        frames.next().await.unwrap();
        assert!(!is_idle(&frames));

        client.write_all(&second[3..]).await.unwrap();
        assert_eq!(frames.next().await.unwrap().payload, b"second"[..]);
        assert!(is_idle(&frames));
    }

    #[tokio::test]
    async fn a_length_that_is_written_too_long_costs_a_buffer_and_nothing_else() {
        let (mut client, server) = tokio::io::duplex(4_096);
        let mut frames = Frames::new(server, 65_536, Arc::default());

        client.write_all(&[0x82, 0x80 | 0x7E, 0, 2, 0, 0, 0, 0, b'o', b'k']).await.unwrap();
        assert_eq!(frames.next().await.unwrap().payload, b"ok"[..]);
        client.write_all(&frame(b"next")).await.unwrap();
        assert_eq!(frames.next().await.unwrap().payload, b"next"[..]);
    }

    /// Frames, the other end of their stream, and what counts their memory.
    fn counted() -> (Frames<DuplexStream>, DuplexStream, Arc<Share>) {
        let ((client, server), share) = (tokio::io::duplex(200_000), Arc::<Share>::default());
        (Frames::new(server, 65_536, Arc::clone(&share)), client, share)
    }

    #[tokio::test]
    async fn what_a_frame_claims_is_counted_until_it_is_here_or_given_up() {
        let (mut frames, mut client, share) = counted();
        let large = frame(&vec![7; 60_000]);
        for _ in 0..3 {
            let mut reading = pin!(frames.next());
            assert!(reading.as_mut().now_or_never().is_none());
            assert_eq!(share.bytes(), 0);
            client.write_all(&large[..20]).await.unwrap();
            assert!(reading.as_mut().now_or_never().is_none());
            assert!((60_000..70_000).contains(&share.bytes()), "{}", share.bytes());
            client.write_all(&large[20..]).await.unwrap();
            reading.await.unwrap();
            assert_eq!(share.bytes(), 0);
        }
        client.write_all(&large[..20]).await.unwrap();
        assert!(frames.next().now_or_never().is_none());
        assert_eq!(share.bytes(), 0);
    }

    #[tokio::test]
    async fn a_small_rest_that_keeps_a_large_buffer_counts_as_large() {
        let (mut frames, mut client, share) = counted();
        let (large, small) = (frame(&vec![7; 60_000]), frame(b"small"));
        client.write_all(&[&large[..], &small[..3]].concat()).await.unwrap();

        frames.next().await.unwrap();

        assert!((60_000..70_000).contains(&share.bytes()), "{}", share.bytes());
        client.write_all(&small[3..]).await.unwrap();
        frames.next().await.unwrap();
        assert_eq!(share.bytes(), 0);
    }

    #[tokio::test]
    async fn a_client_that_sends_much_at_once_does_not_make_the_buffer_grow() {
        let (mut frames, mut client, share) = counted();
        client.write_all(&frame(&vec![7; 2_000]).repeat(90)).await.unwrap();
        for _ in 0..90 {
            frames.next().await.unwrap();
            assert!(share.bytes() <= BUFFER_BYTES, "{}", share.bytes());
        }
        assert_eq!(share.bytes(), 0);
    }

    #[tokio::test]
    async fn lengths_that_are_written_too_long_count_for_no_more_than_the_buffer() {
        let (mut frames, mut client, share) = counted();
        for _ in 0..5_000 {
            client.write_all(&[0x82, 0x80 | 0x7E, 0, 2, 0, 0, 0, 0, b'o', b'k']).await.unwrap();
            frames.next().await.unwrap();
            assert_eq!(share.bytes(), BUFFER_BYTES);
        }
        drop(frames);
        assert_eq!(share.bytes(), 0);
    }
}
