//! A client that says whatever bytes a test wants.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{PATIENCE, World};

pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8A;
/// Without the FIN bit.
pub const TEXT_BEGINS: u8 = 0x01;
pub const GOES_ON: u8 = 0x00;
pub const ENDS: u8 = 0x80;

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A frame as a client must send it.
pub fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = unmasked(first_byte, payload);
    let header = frame.len() - payload.len();
    frame[1] |= 0x80;
    frame.splice(header..header, MASK);
    for (byte, mask) in frame[header + MASK.len()..].iter_mut().zip(MASK.iter().cycle()) {
        *byte ^= mask;
    }
    frame
}

pub fn unmasked(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first_byte];
    match payload.len() {
        short @ 0..126 => frame.push(u8::try_from(short).unwrap()),
        medium @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend(u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

pub fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// A handshake's request; a header given replaces the usual one, `None` leaves it out.
pub fn request(line: &str, headers: &[(&str, Option<&str>)]) -> String {
    let key = STANDARD.encode(b"sixteen bytes ok");
    let usual = [
        ("Host", "fanlight.example"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", &key),
    ];
    let replaced = |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let kept = usual.into_iter().filter(|(name, _)| !replaced(name));
    let given = headers.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    let lines = kept.chain(given).map(|(name, value)| format!("{name}: {value}\r\n"));
    format!("{line}\r\n{}\r\n", lines.collect::<String>())
}

/// The answer to a handshake.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// As it came, in lower case.
    pub head: String,
}

pub struct Peer {
    stream: TcpStream,
}

impl Peer {
    /// Sends a handshake, with `more` in the same segment.
    pub async fn say(world: &World, request: &str, more: &[u8]) -> (Self, Answer) {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(&[request.as_bytes(), more].concat()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, stream.read_u8()).await.expect("an answer").unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (Self { stream }, Answer { status, head })
    }

    /// A connection that confirms by pong, of a user of its own.
    pub async fn connect(world: &World) -> Self {
        let bearer = format!("Bearer {}", world.token());
        Self::connect_with(world, &[("Authorization", Some(&bearer))]).await
    }

    pub async fn connect_with(world: &World, headers: &[(&str, Option<&str>)]) -> Self {
        let (peer, answer) = Self::say(world, &request("GET /ws HTTP/1.1", headers), b"").await;
        assert_eq!(answer.status, 101, "{answer:?}");
        peer
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub async fn send_json(&mut self, message: &Value) {
        self.send(&frame(TEXT, message.to_string().as_bytes())).await;
    }

    /// The next frame: its first byte and its payload. A server never masks.
    pub async fn frame(&mut self) -> (u8, Vec<u8>) {
        timeout(PATIENCE, self.read_frame()).await.expect("a frame comes").expect("the connection lives")
    }

    async fn read_frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let [first, length] = [self.stream.read_u8().await?, self.stream.read_u8().await?];
        let length = match length {
            126 => usize::from(self.stream.read_u16().await?),
            127 => usize::try_from(self.stream.read_u64().await?).unwrap(),
            short => usize::from(short),
        };
        assert!(length < 0x1_0000, "masked, or too long");
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await?;
        Ok((first, payload))
    }

    /// The next message, which must be a JSON object.
    pub async fn json(&mut self) -> Value {
        let (first, payload) = self.frame().await;
        assert_eq!(first, TEXT, "{payload:?}");
        serde_json::from_slice(&payload).unwrap()
    }

    /// The close frame's payload, skipping what came before; then TCP must end in order, not by a reset.
    pub async fn closed_raw(&mut self) -> Vec<u8> {
        let payload = loop {
            match self.frame().await {
                (CLOSE, payload) => break payload,
                (PONG | PING | TEXT, _) => {}
                other => panic!("{other:?}"),
            }
        };
        let end = timeout(PATIENCE, self.stream.read_u8()).await.expect("the connection ends");
        assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
        payload
    }

    /// The close frame's code and reason.
    pub async fn closed(&mut self) -> (u16, String) {
        let payload = self.closed_raw().await;
        let (code, reason) = payload.split_first_chunk().expect("the close frame has a code");
        (u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap())
    }

    /// Proves that the connection is open and read in order.
    pub async fn is_alive(&mut self) {
        self.send(&frame(PING, b"alive?")).await;
        assert_eq!(self.frame().await, (PONG, b"alive?".to_vec()));
    }
}
