//! A client as a person's phone has one: HTTP with a token, and sockets that confirm what they get.
//!
//! Every wait has a deadline, and says what it has seen when it passes.

use std::ops::Deref;
use std::time::Duration;

use fanlight::shutdown::Shutdown;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message, handshake};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub const PASSWORD: &str = "correct-horse-battery";
/// How long anything may take to be seen.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Frames that may wait for the test; then the socket is not read further, as a slow phone would not.
const FRAMES_MAX: usize = 4096;

/// An answer. `body` is null if there is none, and a string if it is no JSON.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Response {
    /// The body of an answer with this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// An RFC 9457 answer with this status and code.
    #[track_caller]
    pub fn expect_problem(self, status: u16, error: &str) -> Self {
        assert_eq!((self.status, self.body["error"].as_str()), (status, Some(error)), "{}", self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.body["status"], status, "{}", self.body);
        assert_eq!(self.body["type"], format!("urn:fanlight:error:{error}"));
        assert!(self.body["title"].as_str().is_some_and(|title| !title.is_empty()), "{}", self.body);
        self
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What proves who calls.
#[derive(Clone, Debug)]
pub enum Credentials {
    None,
    Bearer(String),
    Cookie(String),
}

/// The HTTP API at one address, with or without credentials.
#[derive(Clone, Debug)]
pub struct Api {
    pub base_url: String,
    pub credentials: Credentials,
    http: reqwest::Client,
}

impl Api {
    pub fn anonymous(base_url: &str) -> Self {
        let http = reqwest::Client::builder().timeout(DEADLINE * 2).no_proxy().build().unwrap();
        Self { base_url: base_url.to_owned(), credentials: Credentials::None, http }
    }

    pub fn with(&self, credentials: Credentials) -> Self {
        Self { credentials, ..self.clone() }
    }

    pub fn with_bearer(&self, token: impl Into<String>) -> Self {
        self.with(Credentials::Bearer(token.into()))
    }

    pub async fn get(&self, path: &str) -> Response {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Response {
        self.send_json(Method::POST, path, body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Response {
        self.send_json(Method::PUT, path, body).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Response {
        self.send_json(Method::PATCH, path, body).await
    }

    pub async fn delete(&self, path: &str) -> Response {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Without a body if it is null.
    pub async fn send_json(&self, method: Method, path: &str, body: Value) -> Response {
        let request = self.request(method, path);
        self.send(if body.is_null() { request } else { request.json(&body) }).await
    }

    /// A JSON body as it stands, valid or not.
    pub async fn send_text(&self, method: Method, path: &str, body: impl Into<String>) -> Response {
        let request = self.request(method, path).header(CONTENT_TYPE, "application/json").body(body.into());
        self.send(request).await
    }

    /// For what the other methods do not offer.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base_url));
        match &self.credentials {
            Credentials::None => request,
            Credentials::Bearer(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            Credentials::Cookie(token) => request.header("cookie", format!("theme=dark; jwt_token={token}")),
        }
    }

    pub async fn send(&self, request: RequestBuilder) -> Response {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let body = match text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
        };
        Response { status, headers, body }
    }
}

/// A person with an account, signed in.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    pub email: String,
    pub access_token: String,
    pub refresh_token: String,
    api: Api,
}

impl Deref for Client {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Client {
    /// Makes an account; the display name is what stands before the `@`.
    pub async fn register(base_url: &str, email: &str) -> Self {
        let name = email.split('@').next().unwrap();
        let account = json!({"email": email, "password": PASSWORD, "displayName": name});
        let api = Api::anonymous(base_url);
        Self::signed_in(&api, &api.post("/auth/register", account).await.expect(201))
    }

    /// The same person, signed in on another device: a session of its own.
    pub async fn log_in_again(&self) -> Self {
        let credentials = json!({"email": self.email, "password": PASSWORD});
        let api = self.api.with(Credentials::None);
        Self::signed_in(&api, &api.post("/auth/login", credentials).await.expect(200))
    }

    /// The same session, through another address of the cluster.
    pub fn at(&self, base_url: &str) -> Self {
        let api = Api { base_url: base_url.to_owned(), ..self.api.clone() };
        Self { api, ..self.clone() }
    }

    fn signed_in(api: &Api, tokens: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let access_token = text(&tokens["accessToken"]);
        Self {
            id: text(&tokens["user"]["id"]),
            email: text(&tokens["user"]["email"]),
            refresh_token: text(&tokens["refreshToken"]),
            api: api.with_bearer(access_token.clone()),
            access_token,
        }
    }

    /// Opens a socket at an address of the cluster. `query` is what stands behind the token, such as `since=4`,
    /// or empty.
    pub async fn connect(&self, base_url: &str, query: &str) -> Socket {
        let and = if query.is_empty() { "" } else { "&" };
        Socket::open(&format!("{base_url}/ws?token={}{and}{query}", self.access_token), &[]).await
    }
}

/// Makes a couple of two people: the first shows a code, the second confirms it.
pub async fn link(owner: &Client, other: &Client) {
    let session = owner.post("/linking/sessions", Value::Null).await.expect(201);
    other.post("/linking/sessions/confirm", json!({"linkCode": session["linkCode"]})).await.expect(200);
}

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
        let mut request = url.replacen("http", "ws", 1).into_client_request().unwrap();
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
