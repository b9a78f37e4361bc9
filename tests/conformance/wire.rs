//! Frames as a client puts them on the wire, and a client that says nothing but what it is told.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// Only a server that hangs makes anybody wait so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;
pub const FIN: u8 = 0x80;

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A masked frame. The first byte: FIN and the three reserved bits above, the opcode below.
pub fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first_byte];
    match payload.len() {
        short @ 0..126 => out.push(0x80 | u8::try_from(short).unwrap()),
        medium @ 126..0x1_0000 => {
            out.push(0xFE);
            out.extend(u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            out.push(0xFF);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

pub fn text(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | TEXT, payload.as_ref())
}

pub fn binary(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | BINARY, payload.as_ref())
}

pub fn ping(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | PING, payload.as_ref())
}

pub fn pong(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | PONG, payload.as_ref())
}

pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason.as_ref()].concat())
}

/// A message whose fragments are these; each is a frame of its own.
pub fn fragments<P: AsRef<[u8]>>(opcode: u8, parts: &[P]) -> Vec<Vec<u8>> {
    let last = parts.len() - 1;
    let first_byte = |index| {
        let opcode = if index == 0 { opcode } else { CONTINUATION };
        if index == last { FIN | opcode } else { opcode }
    };
    parts.iter().enumerate().map(|(index, part)| frame(first_byte(index), part.as_ref())).collect()
}

/// A frame from the server: its first byte and its payload.
pub type Frame = (u8, Vec<u8>);

/// A connection after its handshake.
pub struct Peer {
    pub reader: OwnedReadHalf,
    pub writer: OwnedWriteHalf,
}

impl Peer {
    pub async fn connect(address: SocketAddr) -> Self {
        let (peer, head) = Self::ask(
            address,
            "GET / HTTP/1.1\r\nHost: echo\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(
            head.to_ascii_lowercase().contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n")
        );
        peer
    }

    /// Sends a request, and reads the head of its answer.
    pub async fn ask(address: SocketAddr, request: &str) -> (Self, String) {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (reader, writer) = stream.into_split();
        let mut peer = Self { reader, writer };
        peer.writer.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, peer.reader.read_u8()).await.expect("an answer").unwrap());
        }
        (peer, String::from_utf8(head).unwrap())
    }
}

/// The next frame, or `None` when the stream ends in order. A reset is an error.
pub async fn read_frame(reader: &mut OwnedReadHalf) -> std::io::Result<Option<Frame>> {
    let mut first = [0];
    if reader.read(&mut first).await? == 0 {
        return Ok(None);
    }
    let length = match reader.read_u8().await? {
        126 => u64::from(reader.read_u16().await?),
        127 => reader.read_u64().await?,
        masked @ 128.. => panic!("a server must not mask: {masked}"),
        short => u64::from(short),
    };
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    reader.read_exact(&mut payload).await?;
    Ok(Some((first[0], payload)))
}
