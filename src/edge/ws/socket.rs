//! Messages on a TCP connection that has completed the WebSocket handshake.
//!
//! Frames are read by `fastwebsockets`; this module refuses what its release 0.10 lets pass (unmasked
//! frames, long control frames, endless or interleaved fragments, broken text in fragments), each with the
//! close code of RFC 6455. Writing is plain: our frames are finished bytes, the same for every receiver.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use fastwebsockets::{OpCode, WebSocketError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use crate::delivery::budget::{Held, Share};
use crate::domain::tokens::TOKEN_BYTES_MAX;
use crate::edge::ws::close::{Closing, is_valid_from_client};
use crate::edge::ws::frames::{Frames, Received};

/// A connection that ends gets this long to take its last bytes and to say its last word.
pub const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// RFC 6455 §5.5.
const CONTROL_PAYLOAD_MAX: usize = 125;
const AUTH_BYTES_MAX: usize = TOKEN_BYTES_MAX + 1024;
/// More than a client has on its way when it is refused. Time bounds it too: whoever finishes has a deadline.
const DRAIN_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one message, over all its fragments.
    pub message_bytes_max: usize,
    pub fragments_max: usize,
    /// From the first fragment of a message to its last. (Who leaves a frame half-sent cannot answer a ping.)
    pub assembly_timeout: Duration,
}

impl Limits {
    /// Of clients that still have to say who they are: an `AUTH` fits, with the longest token.
    #[must_use]
    pub fn of_strangers(self) -> Self {
        Self { message_bytes_max: self.message_bytes_max.min(AUTH_BYTES_MAX), ..self }
    }
}

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Binary(Bytes),
    Ping(Bytes),
    Pong(Bytes),
    /// The code of its close frame, or `None` if it had none.
    Close(Option<u16>),
}

/// Why nothing more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The peer broke the protocol: say so with this code, then end.
    Refused(Closing),
    /// The connection is gone.
    Gone,
}

/// The reading half. Its futures are **not** cancel-safe: keep one until it returns.
pub struct Reader<R> {
    frames: Frames<R>,
    limits: Limits,
    /// Boxed: few messages come in fragments.
    partial: Option<Box<Partial>>,
}

/// A message whose last fragment has not come yet.
struct Partial {
    opcode: OpCode,
    payload: BytesMut,
    held: Held,
    fragments: usize,
    /// So much of a text is known to be UTF-8.
    valid: usize,
    deadline: Instant,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// What a client has sent of a message that is not complete counts to `share`.
    pub fn new(stream: R, limits: Limits, share: Arc<Share>) -> Self {
        Self { frames: Frames::new(stream, limits.message_bytes_max, share), limits, partial: None }
    }

    /// What counts the memory of this connection.
    pub fn share(&self) -> &Arc<Share> {
        self.frames.share()
    }

    /// Sets other limits, from the next message on.
    pub fn allow(&mut self, limits: Limits) {
        self.limits = limits;
        self.frames.allow(limits.message_bytes_max);
    }

    /// The next whole message.
    ///
    /// # Errors
    /// [`ReadError`]; what comes after it means nothing.
    pub async fn message(&mut self) -> Result<Message, ReadError> {
        loop {
            let frame = self.frame().await?;
            if !frame.masked {
                return Err(ReadError::Refused(Closing::ProtocolError));
            }
            if let Some(message) = self.accept(frame.fin, frame.opcode, frame.payload)? {
                return Ok(message);
            }
        }
    }

    async fn frame(&mut self) -> Result<Received, ReadError> {
        let frame = match &self.partial {
            None => self.frames.next().await,
            // Boxed: a connection that is idle should not keep room for a timer.
            Some(partial) => Box::pin(timeout_at(partial.deadline, self.frames.next()))
                .await
                .map_err(|_| ReadError::Refused(Closing::MessageTooSlow))?,
        };
        frame.map_err(|error| refuse(&error))
    }

    fn accept(&mut self, fin: bool, opcode: OpCode, payload: BytesMut) -> Result<Option<Message>, ReadError> {
        match opcode {
            OpCode::Ping | OpCode::Pong | OpCode::Close => control(opcode, payload).map(Some),
            OpCode::Text | OpCode::Binary if self.partial.is_some() => {
                Err(ReadError::Refused(Closing::ProtocolError))
            }
            OpCode::Text | OpCode::Binary if fin => whole(opcode, payload).map(Some),
            OpCode::Text | OpCode::Binary => {
                let deadline = Instant::now() + self.limits.assembly_timeout;
                // A copy, so that it does not keep the buffer that the frame was read into.
                let payload = BytesMut::from(&payload[..]);
                let held = self.share().hold(payload.capacity());
                let mut partial = Partial { opcode, payload, held, fragments: 1, valid: 0, deadline };
                partial.check_text()?;
                self.partial = Some(Box::new(partial));
                Ok(None)
            }
            OpCode::Continuation => self.continuation(fin, &payload),
        }
    }

    fn continuation(&mut self, fin: bool, payload: &[u8]) -> Result<Option<Message>, ReadError> {
        let mut partial = self.partial.take().ok_or(ReadError::Refused(Closing::ProtocolError))?;
        partial.fragments += 1;
        let too_big = partial.payload.len() + payload.len() > self.limits.message_bytes_max;
        if too_big || partial.fragments > self.limits.fragments_max {
            return Err(ReadError::Refused(Closing::MessageTooBig));
        }
        partial.payload.extend_from_slice(payload);
        partial.held.grow_to(partial.payload.capacity());
        if fin {
            return whole(partial.opcode, partial.payload).map(Some);
        }
        partial.check_text()?;
        self.partial = Some(partial);
        Ok(None)
    }
}

impl Partial {
    /// Refuses broken text as soon as it is here; a character may still be incomplete.
    fn check_text(&mut self) -> Result<(), ReadError> {
        if self.opcode != OpCode::Text {
            return Ok(());
        }
        match std::str::from_utf8(&self.payload[self.valid..]) {
            Ok(_) => self.valid = self.payload.len(),
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(ReadError::Refused(Closing::InvalidText)),
        }
        Ok(())
    }
}

fn whole(opcode: OpCode, payload: BytesMut) -> Result<Message, ReadError> {
    if opcode == OpCode::Binary {
        return Ok(Message::Binary(payload.freeze()));
    }
    // A copy, so that the text does not pin the connection's read buffer.
    match std::str::from_utf8(&payload) {
        Ok(text) => Ok(Message::Text(text.to_owned())),
        Err(_) => Err(ReadError::Refused(Closing::InvalidText)),
    }
}

fn control(opcode: OpCode, payload: BytesMut) -> Result<Message, ReadError> {
    if payload.len() > CONTROL_PAYLOAD_MAX {
        return Err(ReadError::Refused(Closing::ProtocolError));
    }
    match opcode {
        OpCode::Ping => Ok(Message::Ping(payload.freeze())),
        OpCode::Pong => Ok(Message::Pong(payload.freeze())),
        _ => close_code(&payload).map(Message::Close),
    }
}

/// The code in a close frame's payload (RFC 6455 §5.5.1).
fn close_code(payload: &[u8]) -> Result<Option<u16>, ReadError> {
    match payload {
        [] => Ok(None),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_valid_from_client(code) {
                return Err(ReadError::Refused(Closing::ProtocolError));
            }
            if std::str::from_utf8(reason).is_err() {
                return Err(ReadError::Refused(Closing::InvalidText));
            }
            Ok(Some(code))
        }
        [_] => Err(ReadError::Refused(Closing::ProtocolError)),
    }
}

fn refuse(error: &WebSocketError) -> ReadError {
    match error {
        WebSocketError::UnexpectedEOF | WebSocketError::IoError(_) | WebSocketError::ConnectionClosed => {
            ReadError::Gone
        }
        WebSocketError::FrameTooLarge => ReadError::Refused(Closing::MessageTooBig),
        WebSocketError::InvalidUTF8 => ReadError::Refused(Closing::InvalidText),
        _ => ReadError::Refused(Closing::ProtocolError),
    }
}

/// A ping frame; a client answers it with the same payload once it has read all that came before.
#[must_use]
pub fn ping_frame(payload: &[u8]) -> Bytes {
    control_frame(0x89, payload)
}

#[must_use]
pub fn pong_frame(payload: &[u8]) -> Bytes {
    control_frame(0x8A, payload)
}

#[must_use]
pub fn close_frame(code: u16, reason: &str) -> Bytes {
    let mut payload = BytesMut::with_capacity(2 + reason.len());
    payload.put_u16(code);
    payload.put_slice(reason.as_bytes());
    control_frame(0x88, &payload)
}

/// RFC 6455 §5.5.1: a close frame is answered with the same code, an empty one with an empty one.
#[must_use]
pub fn close_back_frame(code: Option<u16>) -> Bytes {
    code.map_or_else(|| control_frame(0x88, b""), |code| close_frame(code, ""))
}

fn control_frame(first_byte: u8, payload: &[u8]) -> Bytes {
    let payload = &payload[..payload.len().min(CONTROL_PAYLOAD_MAX)];
    let mut frame = BytesMut::with_capacity(2 + payload.len());
    frame.put_u8(first_byte);
    frame.put_u8(u8::try_from(payload.len()).expect("bounded above"));
    frame.put_slice(payload);
    frame.freeze()
}

/// Says the last word and ends the connection in order, unless the client takes too long for it.
pub async fn farewell<R, W>(reader: &mut R, writer: &mut W, frame: Bytes)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let _timed_out = timeout(FAREWELL_TIMEOUT, finish(reader, writer, frame)).await;
}

/// Our close frame, the end of our stream, then the rest of theirs, because a TCP reset for unread bytes would
/// destroy the close frame on its way.
async fn finish<R, W>(reader: &mut R, writer: &mut W, frame: Bytes)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    if writer.write_all(&frame).await.is_ok() && writer.shutdown().await.is_ok() {
        // Their close frame and whatever they sent before it: read to be thrown away.
        let _discarded = tokio::io::copy(&mut reader.take(DRAIN_BYTES_MAX), &mut tokio::io::sink()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_client_still_says_at_the_end_is_read() {
        // A pipe that holds next to nothing: who writes more than that needs somebody who reads it.
        let (mut client, server) = tokio::io::duplex(64);
        let finishing = async move {
            let (mut reader, mut writer) = tokio::io::split(server);
            finish(&mut reader, &mut writer, Closing::MessageTooBig.frame()).await;
        };
        let talking = async move {
            client.write_all(&[0; 10_000]).await.expect("the server still reads");
            client.shutdown().await.unwrap();
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.unwrap();
            got
        };
        assert_eq!(tokio::join!(finishing, talking).1, Closing::MessageTooBig.frame());
    }
}
