//! How a phone asks for a socket, and what it is told.

use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::{self, Error};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

pub type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a phone says when it comes.
pub struct Hello<'a> {
    /// Of the load balancer.
    pub url: &'a str,
    pub token: &'a str,
    /// The last of its user's events that it has seen; without, it gets those that nobody has confirmed.
    pub since: Option<i64>,
    /// Speaks `fanlight.v1`, and so confirms by `ACK`.
    pub says_ack: bool,
}

/// A handshake that came to nothing.
pub struct Refusal {
    /// Of HTTP; 0 without an answer.
    pub status: u16,
    pub retry_after: Duration,
    pub error: String,
}

/// Opens a socket. Returns it, and the node that it is on where the load balancer says so.
pub async fn open(hello: Hello<'_>) -> Result<(Stream, Option<String>), Refusal> {
    let connecting = async { tokio_tungstenite::connect_async(request(&hello)?).await };
    let refusal =
        |status, seconds, error| Err(Refusal { status, retry_after: Duration::from_secs(seconds), error });
    match timeout(ANSWERED_WITHIN, connecting).await {
        Ok(Ok((stream, response))) => Ok((stream, node_of(response.headers()))),
        Ok(Err(Error::Http(response))) => {
            let after =
                response.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
            let status = response.status().as_u16();
            refusal(status, after.unwrap_or(0), format!("answered {status}"))
        }
        Ok(Err(error)) => refusal(0, 0, error.to_string()),
        Err(_) => refusal(0, 0, "no answer in time".to_owned()),
    }
}

fn request(hello: &Hello<'_>) -> tungstenite::Result<Request> {
    let Hello { url, token, since, says_ack } = hello;
    let since = since.map_or_else(String::new, |since| format!("&since={since}"));
    let url = format!("{}/ws?deviceId=phone{since}", url.replacen("http", "ws", 1));
    let mut request = url.into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
    if *says_ack {
        request.headers_mut().insert("sec-websocket-protocol", "fanlight.v1".parse()?);
    }
    Ok(request)
}

/// The node that answered: the load balancer of a private cluster says it.
pub fn node_of(headers: &HeaderMap) -> Option<String> {
    headers.get("x-served-by")?.to_str().ok().map(str::to_owned)
}
