//! A socket as a phone has one: it answers pings by itself, and can freeze.

use std::time::Duration;

use fanlight::shutdown::Shutdown;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::{Error, Message, handshake};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::client::DEADLINE;

/// Frames that may wait for the test; then the socket is not read further, as a slow phone would not.
const FRAMES_MAX: usize = 4096;

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a socket has got, in order.
#[derive(Clone, Debug)]
enum Got {
    Event(Value),
    /// Code and reason; 1006 if the connection ended without a close frame.
    Closed(u16, String),
}

/// A socket that a task of its own reads: pings are answered whether or not the test looks at the frames.
pub struct Socket {
    frames: mpsc::Receiver<Got>,
    outgoing: mpsc::Sender<Message>,
    frozen: watch::Sender<bool>,
    seen: Vec<Value>,
    /// The sub-protocol that the server chose.
    pub protocol: Option<String>,
}

impl Socket {
    /// Opens a socket at an `http://` address with these headers.
    pub async fn open(url: &str, headers: &[(&'static str, &str)]) -> Self {
        Self::try_open(url, headers).await.unwrap_or_else(|status| panic!("{url} refuses with {status}"))
    }

    /// As [`Socket::open`]; a refused handshake is its HTTP status.
    pub async fn try_open(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let mut request = request(url);
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let connecting = timeout(DEADLINE, tokio_tungstenite::connect_async(request));
        match connecting.await.unwrap_or_else(|_| panic!("{url} does not answer the handshake")) {
            Ok((stream, answer)) => Ok(Self::over(stream, &answer)),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{url}: {error}"),
        }
    }

    /// As [`Socket::open`], over a connection to this address that is there already.
    pub async fn open_over(stream: TcpStream, url: &str) -> Self {
        let opening = tokio_tungstenite::client_async(request(url), MaybeTlsStream::Plain(stream));
        let (stream, answer) = timeout(DEADLINE, opening).await.unwrap().unwrap();
        Self::over(stream, &answer)
    }

    fn over(stream: Stream, answer: &handshake::client::Response) -> Self {
        let (frames_in, frames) = mpsc::channel(FRAMES_MAX);
        let (outgoing, outgoing_out) = mpsc::channel(FRAMES_MAX);
        let (frozen, is_frozen) = watch::channel(false);
        Shutdown::new().spawn_light(pump(stream, frames_in, outgoing_out, is_frozen));
        let protocol = answer.headers().get("sec-websocket-protocol");
        let protocol = protocol.map(|value| value.to_str().unwrap().to_owned());
        Self { frames, outgoing, frozen, seen: Vec::new(), protocol }
    }

    /// The next frame from the server.
    #[track_caller]
    pub fn next_event(&mut self) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            match self.next(DEADLINE).await {
                Some(Got::Event(event)) => {
                    self.seen.push(event.clone());
                    event
                }
                other => panic!("{caller}: no event but {other:?}, after {:?}", self.seen),
            }
        }
    }

    /// The next frame, which has to be of this type.
    #[track_caller]
    pub fn expect_event(&mut self, kind: &str) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            let event = self.next_event().await;
            assert_eq!(event["type"], kind, "{caller}: {event}");
            event
        }
    }

    /// The next frame, or none when the connection has ended.
    pub async fn event_before_end(&mut self) -> Option<Value> {
        match self.next(DEADLINE).await {
            Some(Got::Event(event)) => Some(event),
            Some(Got::Closed(..)) => None,
            None => panic!("neither an event nor the end, after {:?}", self.seen),
        }
    }

    /// Says that everything the server had to say before this moment has been seen: the next frame is the answer
    /// to a question asked now.
    #[track_caller]
    pub fn expect_nothing_more(&mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            self.send(json!({"type": "PING", "ref": "fence"})).await;
            let answer = self.next_event().await;
            assert_eq!(answer, json!({"type": "PONG", "ref": "fence"}), "{caller}");
        }
    }

    /// Waits for the end, over frames that come before. Returns the close code and its reason.
    #[track_caller]
    pub fn expect_close(&mut self) -> impl Future<Output = (u16, String)> {
        let caller = std::panic::Location::caller();
        async move {
            loop {
                match self.next(DEADLINE).await {
                    Some(Got::Closed(code, reason)) => return (code, reason),
                    Some(Got::Event(event)) => self.seen.push(event),
                    None => panic!("{caller}: still open after {:?}", self.seen),
                }
            }
        }
    }

    pub async fn send(&self, command: Value) {
        self.send_message(Message::text(command.to_string())).await;
    }

    pub async fn send_message(&self, message: Message) {
        self.outgoing.send(message).await.unwrap();
    }

    /// From now on nothing is read or answered, and the connection stays open.
    pub fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    pub fn thaw(&self) {
        self.frozen.send_replace(false);
    }

    /// Closes as a client should, and waits until the server has agreed.
    pub async fn close(mut self) {
        self.send_message(Message::Close(None)).await;
        self.expect_close().await;
    }

    async fn next(&mut self, limit: Duration) -> Option<Got> {
        timeout(limit, self.frames.recv()).await.ok().map(|got| got.expect("nothing comes after the close"))
    }
}

fn request(url: &str) -> Request {
    url.replacen("http", "ws", 1).into_client_request().unwrap()
}

/// Reads until the end, so that pings are answered, and sends what the test wants to say.
async fn pump(
    mut stream: Stream,
    frames: mpsc::Sender<Got>,
    mut outgoing: mpsc::Receiver<Message>,
    mut frozen: watch::Receiver<bool>,
) {
    let closed = loop {
        // Ends the task together with the socket.
        if frozen.wait_for(|frozen| !frozen).await.is_err() {
            return;
        }
        // Cancel-safe: a stream keeps what it has read of a message, channels lose nothing.
        let message = tokio::select! {
            message = stream.next() => message,
            message = outgoing.recv() => {
                let Some(message) = message else { return };
                // A connection that cannot be written to says why when it is read.
                let _unsent = stream.send(message).await;
                continue;
            }
            _ = frozen.changed() => continue,
        };
        match message {
            Some(Ok(Message::Text(text))) => {
                let event = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"));
                if frames.send(Got::Event(event)).await.is_err() {
                    return;
                }
            }
            Some(Ok(Message::Close(close))) => {
                let (code, reason) = close.map_or((1005, String::new()), |close| {
                    (close.code.into(), close.reason.as_str().to_owned())
                });
                // Sends the answer.
                while let Some(Ok(_)) = stream.next().await {}
                break Got::Closed(code, reason);
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break Got::Closed(1006, String::new()),
        }
    };
    // The test may not care.
    let _unseen = frames.send(closed).await;
}
