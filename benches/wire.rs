//! Clients so light that they are not what is measured.
//!
//! A client here is one TCP stream and one buffer: no library between the clock and the bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::{Buf as _, Bytes, BytesMut};
use fanlight::dev::people::Person;
use fanlight::domain::ids::ChannelId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

pub const TOKEN_TTL: Duration = Duration::from_secs(3_600);
pub const TEXT: u8 = 0x1;
pub const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const MASKED: u8 = 0x80;

/// The address in `http://address`.
pub fn address(url: &str) -> anyhow::Result<SocketAddr> {
    Ok(url.trim_start_matches("http://").trim_end_matches('/').parse()?)
}

/// A handshake that was not answered 101.
#[derive(Debug, thiserror::Error)]
#[error("the handshake was answered: {head}")]
pub struct Refused {
    pub head: String,
}

/// The request that asks for a WebSocket.
fn handshake(path: &str, token: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    )
    .into_bytes()
}

/// The request that changes somebody's light.
pub fn change(actor: &Person, status: &str) -> Vec<u8> {
    request("PATCH /status", actor, &format!(r#"{{"status":"{status}"}}"#)).into_bytes()
}

/// The request that writes a message.
pub fn message(author: &Person, channel: ChannelId, content: &str) -> String {
    request("POST /messages", author, &format!(r#"{{"channelId":"{channel}","content":"{content}"}}"#))
}

fn request(line: &str, caller: &Person, body: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        caller.token,
        body.len()
    )
}

/// One TCP connection that speaks as much HTTP and WebSocket as needed.
pub struct Wire {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Wire {
    pub async fn connect(server: SocketAddr, source: Ipv4Addr) -> anyhow::Result<Self> {
        Self::connect_with(server, source, None).await
    }

    /// As [`Wire::connect`], with a receive buffer of the given size.
    pub async fn connect_with(
        server: SocketAddr,
        source: Ipv4Addr,
        receive_buffer: Option<u32>,
    ) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind((source, 0).into())?;
        let stream = socket.connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: BytesMut::new() })
    }

    /// Makes the connection a WebSocket; [`Refused`] if the server does not want that.
    pub async fn open(&mut self, path: &str, token: &str) -> anyhow::Result<()> {
        let head = self.exchange(&handshake(path, token)).await?;
        if !head.starts_with("HTTP/1.1 101") {
            bail!(Refused { head });
        }
        Ok(())
    }

    /// Sends a message, and waits for the answer; it comes when the server is through with what it does at first.
    pub async fn greet(&mut self) -> anyhow::Result<()> {
        self.write(TEXT, br#"{"type":"PING"}"#).await?;
        self.text().await?;
        Ok(())
    }

    /// Sends a request and reads the whole answer; returns its head.
    pub async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<String> {
        self.stream.write_all(request).await?;
        let head = self.head().await?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        });
        let length = length.transpose()?.unwrap_or(0);
        self.fill(length).await?;
        self.buffer.advance(length);
        Ok(head)
    }

    /// Makes room for what comes, so that one read takes all of it.
    pub fn expect(&mut self, bytes: usize) {
        self.buffer.reserve(bytes);
    }

    /// The next text message; pings are answered on the way, as any library does.
    pub async fn text(&mut self) -> anyhow::Result<Bytes> {
        loop {
            let (opcode, payload) = self.frame().await?;
            match opcode {
                TEXT => return Ok(payload),
                PING => self.write(PONG, &payload).await?,
                PONG => {}
                _ => bail!("the server closed: {:?}", String::from_utf8_lossy(&payload)),
            }
        }
    }

    /// Frames from a server are whole here, and not masked.
    async fn frame(&mut self) -> anyhow::Result<(u8, Bytes)> {
        self.fill(2).await?;
        let opcode = self.buffer[0] & 0x0F;
        let (header, length) = match self.buffer[1] {
            126 => {
                self.fill(4).await?;
                (4, usize::from(u16::from_be_bytes([self.buffer[2], self.buffer[3]])))
            }
            127 => bail!("a frame of more than 64 KiB"),
            length => (2, usize::from(length)),
        };
        self.fill(header + length).await?;
        self.buffer.advance(header);
        Ok((opcode, self.buffer.split_to(length).freeze()))
    }

    /// Sends a message or a control frame.
    pub async fn write(&mut self, opcode: u8, payload: &[u8]) -> anyhow::Result<()> {
        let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126);
        // A mask of zeros is a mask.
        let mut frame = vec![0x80 | opcode, MASKED | length.context("a short payload")?, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        Ok(self.stream.write_all(&frame).await?)
    }

    async fn head(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                return Ok(String::from_utf8_lossy(&self.buffer.split_to(end + 4)).into_owned());
            }
            self.fill(self.buffer.len() + 1).await?;
        }
    }

    async fn fill(&mut self, length: usize) -> anyhow::Result<()> {
        while self.buffer.len() < length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server hung up");
            }
        }
        Ok(())
    }
}
