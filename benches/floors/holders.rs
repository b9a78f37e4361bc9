//! Servers that only hold sockets and answer messages: what an idle connection of Fanlight is compared with.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use bytes::Bytes;
use fastwebsockets::{Frame, OpCode, upgrade};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A task and a socket for each connection.
pub const BARE: &str = "--bare-holder";
/// `fastwebsockets` behind hyper.
pub const STOCK: &str = "--stock-holder";

pub async fn serve(kind: &str) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    rlimit::increase_nofile_limit(u64::MAX)?;
    println!("{}", listener.local_addr()?);
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        if kind == BARE {
            connections.spawn(hold(stream));
        } else {
            connections.spawn(hold_stock(stream));
        }
    }
}

/// What comes is read into the stack, when it comes, and answered; a ping too.
async fn hold(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
            return;
        }
    }
    drop(head);
    let mut answer: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
    while stream.write_all(answer).await.is_ok() {
        answer = b"\x81\x0f{\"type\":\"PONG\"}";
        loop {
            if stream.readable().await.is_err() {
                return;
            }
            let mut frame = [0; 256];
            match stream.try_read(&mut frame) {
                Ok(1..) => break,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    }
}

/// As the examples of `fastwebsockets` do it.
async fn hold_stock(stream: TcpStream) {
    let service = service_fn(answer_stock);
    let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

async fn answer_stock(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let Ok((answer, upgrade)) = upgrade::upgrade(&mut request) else {
        return Ok(Response::new(Empty::new()));
    };
    // The connection's task ends with the upgrade; the socket gets one of its own.
    fanlight::shutdown::Shutdown::new().spawn_light(echo(upgrade));
    Ok(answer)
}

async fn echo(upgrade: upgrade::UpgradeFut) {
    let Ok(mut socket) = upgrade.await else { return };
    while let Ok(frame) = socket.read_frame().await {
        if frame.opcode == OpCode::Text && socket.write_frame(Frame::text(frame.payload)).await.is_err() {
            return;
        }
    }
}
