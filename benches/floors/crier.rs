//! One message to everybody: the same bytes to each socket, one after the other.

use std::net::Ipv4Addr;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub const CRIER: &str = "--crier";
const REQUEST_END: &[u8] = b"\r\n\r\n";

/// The request after which everybody is told so many bytes that begin like this.
pub fn request(begin: &str, bytes: usize) -> String {
    format!("POST /{begin} HTTP/1.1\r\nX-Bytes: {bytes}\r\n\r\n")
}

pub async fn serve() -> anyhow::Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?);
    let mut sockets = Vec::new();
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let head = head(&mut stream).await?;
        if head.starts_with("GET") {
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await?;
            sockets.push(stream);
            continue;
        }
        let frame = frame(&head)?;
        for socket in &sockets {
            // A frame of this size always fits a socket's buffer.
            ensure!(socket.try_write(&frame)? == frame.len(), "half a frame was written");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    }
}

async fn head(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut head = Vec::with_capacity(1024);
    while !head.ends_with(REQUEST_END) {
        ensure!(stream.read_buf(&mut head).await? > 0, "the client hung up");
    }
    Ok(String::from_utf8(head)?)
}

/// The text frame that a request asks for.
fn frame(head: &str) -> anyhow::Result<Vec<u8>> {
    let begin = head.split(' ').nth(1).context("a request line")?.trim_start_matches('/');
    let bytes = head.split_once("X-Bytes: ").context("a size")?.1.trim_end().parse::<u16>()?;
    let mut frame = vec![0x81, 126];
    frame.extend_from_slice(&bytes.to_be_bytes());
    frame.extend_from_slice(begin.as_bytes());
    frame.resize(4 + usize::from(bytes), b'.');
    Ok(frame)
}
