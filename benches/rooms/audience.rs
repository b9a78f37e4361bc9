//! Those who listen in a room, in a process of their own: ten thousand sockets and those of the floor's audience are more than
//! one process may open. A server and its floor are heard by the same program.
//!
//! It is told what to do over TCP, with a line of JSON for each order, and answers each with one.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::crowd::{OPENING, converse};
use crate::processes::Running;
use crate::statistics::percentile;
use crate::wire::{TEXT, Wire};

pub const ROLE: &str = "--audience";
/// How all that is listened for begins.
pub const SAID: &str = r#"{"type":"MESSAGE_CREATED""#;
/// More than any of it has.
const FRAME_BYTES: usize = 1024;
/// Everybody listens by then.
const SEATED: Duration = Duration::from_millis(20);
const HEARD_WITHIN: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
enum Order {
    /// So many more come, with a token each.
    Come { server: SocketAddr, tokens: Vec<String> },
    /// Those in these seats say something, and wait for an `OK` each.
    Ask { seats: Range<usize>, text: String },
    /// Those in these seats listen for a message: what this request, if there is one, makes the server tell everybody.
    Hear { seats: Range<usize>, request: Option<Request> },
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Request {
    pub server: SocketAddr,
    pub text: String,
}

/// When a message was heard, in ms after the request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heard {
    pub first: f64,
    pub median: f64,
    pub last: f64,
    /// When the request was answered.
    pub answered: f64,
    /// Of the message.
    pub bytes: usize,
}

type Answer = Result<Option<Heard>, String>;

/// An audience, from outside.
pub struct Audience {
    orders: BufReader<TcpStream>,
    _process: Running,
}

impl Audience {
    pub async fn start() -> anyhow::Result<Self> {
        let (process, address) = Running::start(ROLE, &[])?;
        Ok(Self { orders: BufReader::new(TcpStream::connect(address).await?), _process: process })
    }

    pub async fn come(&mut self, server: SocketAddr, tokens: Vec<String>) -> anyhow::Result<()> {
        self.order(&Order::Come { server, tokens }).await.map(drop)
    }

    pub async fn ask(&mut self, seats: Range<usize>, text: String) -> anyhow::Result<()> {
        self.order(&Order::Ask { seats, text }).await.map(drop)
    }

    pub async fn hear(&mut self, seats: Range<usize>, request: &Request) -> anyhow::Result<Heard> {
        let heard = self.order(&Order::Hear { seats, request: Some(request.clone()) }).await?;
        heard.context("who makes a request knows the times")
    }

    /// Listens for a message that somebody else makes the server tell.
    pub async fn overhear(&mut self, seats: Range<usize>) -> anyhow::Result<()> {
        self.order(&Order::Hear { seats, request: None }).await.map(drop)
    }

    async fn order(&mut self, order: &Order) -> anyhow::Result<Option<Heard>> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.orders.write_all(&line).await?;
        let mut answer = String::new();
        ensure!(self.orders.read_line(&mut answer).await? > 0, "the audience has left");
        serde_json::from_str::<Answer>(&answer)?.map_err(|error| anyhow!("audience: {error}"))
    }
}

/// Is an audience, until nobody orders anything any more.
pub async fn sit() -> anyhow::Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?);
    let mut orders = BufReader::new(listener.accept().await?.0);
    let mut seats = Seats::default();
    let mut line = String::new();
    while orders.read_line(&mut line).await? > 0 {
        let answer: Answer =
            seats.obey(serde_json::from_str(&line)?).await.map_err(|error| format!("{error:#}"));
        let mut answer = serde_json::to_vec(&answer)?;
        answer.push(b'\n');
        orders.write_all(&answer).await?;
        line.clear();
    }
    Ok(())
}

#[derive(Default)]
struct Seats(Vec<Arc<Mutex<Wire>>>);

impl Seats {
    async fn obey(&mut self, order: Order) -> anyhow::Result<Option<Heard>> {
        match order {
            Order::Come { server, tokens } => self.come(server, tokens).await.map(|()| None),
            Order::Ask { seats, text } => self.ask(seats, &text).await.map(|()| None),
            Order::Hear { seats, request } => self.hear(seats, request).await,
        }
    }

    async fn come(&mut self, server: SocketAddr, tokens: Vec<String>) -> anyhow::Result<()> {
        let coming = stream::iter(tokens.into_iter().enumerate()).map(async |(index, token)| {
            let wire = converse(server, index, &token, 0).await?;
            anyhow::Ok(Arc::new(Mutex::new(wire)))
        });
        self.0.extend(coming.buffered(OPENING).try_collect::<Vec<_>>().await?);
        Ok(())
    }

    async fn ask(&self, seats: Range<usize>, text: &str) -> anyhow::Result<()> {
        let asking = stream::iter(&self.0[seats]).map(async |wire| {
            let mut wire = wire.lock().await;
            wire.write(TEXT, text.as_bytes()).await?;
            let answer = wire.text().await?;
            ensure!(answer.starts_with(br#"{"type":"OK""#), "{}", String::from_utf8_lossy(&answer));
            Ok(())
        });
        asking.buffer_unordered(OPENING).try_collect().await
    }

    async fn hear(&self, seats: Range<usize>, request: Option<Request>) -> anyhow::Result<Option<Heard>> {
        let mut listening = JoinSet::new();
        for wire in &self.0[seats] {
            listening.spawn(listen(Arc::clone(wire)));
        }
        let mut times = None;
        if let Some(Request { server, text }) = request {
            sleep(SEATED).await;
            let mut caller = Wire::connect(server, Ipv4Addr::LOCALHOST).await?;
            let begun = Instant::now();
            let head = caller.exchange(text.as_bytes()).await?;
            ensure!(head.starts_with("HTTP/1.1 20"), "answered: {head}");
            times = Some((begun, begun.elapsed()));
        }
        let heard =
            timeout(HEARD_WITHIN, listening.join_all()).await.context("not everybody has heard it")?;
        let heard: Vec<(Instant, usize)> = heard.into_iter().collect::<anyhow::Result<_>>()?;
        let bytes = heard.first().context("nobody listens")?.1;
        Ok(times.map(|(begun, answered)| {
            let after = |share| percentile(heard.iter().map(|(at, _)| ms(at.duration_since(begun))), share);
            Heard { first: after(0.0), median: after(0.5), last: after(1.0), answered: ms(answered), bytes }
        }))
    }
}

/// When the next message came, and how long it was.
async fn listen(wire: Arc<Mutex<Wire>>) -> anyhow::Result<(Instant, usize)> {
    let mut wire = wire.lock().await;
    wire.expect(FRAME_BYTES);
    loop {
        let text = wire.text().await?;
        let at = Instant::now();
        if text.starts_with(SAID.as_bytes()) {
            return Ok((at, text.len()));
        }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
