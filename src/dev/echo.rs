//! A server that says back what it is told, so that conformance suites can be pointed at our sockets.
//!
//! It reads, answers and closes by the very code that serves clients ([`ws::socket`], [`ws::upgrade`]); what it leaves
//! out is everything above: tokens, origins, events, rates. The Autobahn `TestSuite` finds it as
//! `cargo run --release --example echo -- --port 9001`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::delivery::event::{data_frame, text_frame};
use crate::edge::http::addresses::TrustedProxies;
use crate::edge::http::problem::Problem;
use crate::edge::http::server::{Server, listen};
use crate::edge::ws::continued::Continued;
use crate::edge::ws::socket::{Limits, Message, ReadError, Reader, close_back_frame, farewell, pong_frame};
use crate::edge::ws::upgrade::{accept, taken_over};
use crate::shutdown::Shutdown;

const FIN_BINARY: u8 = 0x82;
const CONNECTIONS_MAX: usize = 1_000;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub limits: Limits,
    /// How long a client has for the headers of its handshake.
    pub header_timeout: Duration,
}

/// Serves on this address until `shutdown` stops. Returns the address, whose port may have been 0.
///
/// # Errors
/// When the address is taken or not ours.
pub fn start(address: SocketAddr, settings: Settings, shutdown: &Shutdown) -> anyhow::Result<SocketAddr> {
    let Settings { limits, header_timeout } = settings;
    let listener = listen(address)?;
    let address = listener.local_addr()?;
    let connections = shutdown.clone();
    let handshake = move |request| {
        let connections = connections.clone();
        async move { handshake(request, limits, &connections) }
    };
    let server = Server {
        listener,
        router: Router::new().fallback(any(handshake)),
        proxies: TrustedProxies::default(),
        header_timeout,
        connections_max: CONNECTIONS_MAX,
        connections_per_address_max: CONNECTIONS_MAX,
    };
    shutdown.spawn("echo.server", server.run(shutdown.clone()));
    Ok(address)
}

fn handshake(mut request: Request, limits: Limits, shutdown: &Shutdown) -> Result<Response, Problem> {
    let response = accept(&request)?;
    let upgrade = hyper::upgrade::on(&mut request);
    shutdown.spawn_light(async move {
        if let Some((stream, leftover)) = taken_over(upgrade).await {
            serve(stream, leftover, limits).await;
        }
    });
    Ok(response)
}

async fn serve(mut stream: TcpStream, leftover: Bytes, limits: Limits) {
    let (reading, mut writer) = stream.split();
    let share = Arc::default();
    let mut reading = Continued::new(leftover, reading, &share);
    let mut reader = Reader::new(&mut reading, limits, share);
    let last_word = converse(&mut reader, &mut writer).await;
    drop(reader);
    if let Some(frame) = last_word {
        farewell(&mut reading, &mut writer, frame).await;
    }
}

/// Echoes until one side has enough. Returns the close frame that is still to be sent, if anybody is there.
async fn converse<R, W>(reader: &mut Reader<R>, writer: &mut W) -> Option<Bytes>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let answer = match reader.message().await {
            Ok(Message::Text(text)) => text_frame(&text),
            Ok(Message::Binary(payload)) => data_frame(FIN_BINARY, &payload),
            Ok(Message::Ping(payload)) => pong_frame(&payload),
            Ok(Message::Pong(_)) => continue,
            Ok(Message::Close(code)) => return Some(close_back_frame(code)),
            Err(ReadError::Refused(closing)) => return Some(closing.frame()),
            Err(ReadError::Gone) => return None,
        };
        writer.write_all(&answer).await.ok()?;
    }
}
