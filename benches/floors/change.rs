//! The least that telling a partner can cost: one `UPDATE`, one `PUBLISH`, one send, and nothing around them.
//!
//! And the least that keeping the promise can cost: the same, but with the product's own statement, which locks, finds
//! the partner and writes two events to two numbered inboxes, in a database that nothing else works on.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use anyhow::Context as _;
use fanlight::dev::cluster::Cluster;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo as _};
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::promise;
use crate::processes::Running;
use crate::status_path::COUPLES;

pub const CHANNEL: &str = "floor";
const TEXT_BYTES: u8 = 220;
const REQUEST_END: &[u8] = b"\r\n\r\n";
pub const PUBLISHER: &str = "--publisher";
pub const SUBSCRIBER: &str = "--subscriber";

/// The servers of a status change: one subscriber in this process, and a publisher and a subscriber of their own.
pub struct Floor {
    pub publisher: Server,
    pub subscriber: Server,
    pub own_subscriber: SocketAddr,
    stores: Stores,
    _tasks: JoinSet<()>,
}

pub struct Server {
    pub process: Running,
    pub address: SocketAddr,
}

#[derive(Clone)]
struct Stores {
    postgres: String,
    promise: String,
    redis: String,
}

/// What a change writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    Row,
    /// What a status change of the product writes.
    Promise,
}

impl Writes {
    /// The lanes whose changes write this: each couple has one for either.
    pub fn lanes(self) -> Range<usize> {
        match self {
            Self::Row => 0..COUPLES,
            Self::Promise => COUPLES..COUPLES * 2,
        }
    }

    fn of(lane: usize) -> Self {
        if Self::Row.lanes().contains(&lane) { Self::Row } else { Self::Promise }
    }
}

impl Floor {
    pub async fn start(cluster: &Cluster, pool: &PgPool) -> anyhow::Result<Self> {
        // Rows and keys as the product has them: a uuid, a text, a time.
        sqlx::query(
            "CREATE TABLE floor (lane bigint PRIMARY KEY, status text NOT NULL, at timestamptz NOT NULL)",
        )
        .execute(pool)
        .await?;
        sqlx::query("INSERT INTO floor SELECT lane, 'BUSY', now() FROM generate_series(0, $1) AS lane")
            .bind(i64::try_from(COUPLES)?)
            .execute(pool)
            .await?;
        sqlx::query("CREATE DATABASE promise").execute(pool).await?;
        let stores = Stores {
            postgres: cluster.postgres_url(),
            promise: cluster.postgres.url("promise"),
            redis: cluster.redis.url(),
        };
        promise::fill(&stores.promise, Writes::Promise.lanes()).await?;
        let (publisher, subscriber) = (spawn(PUBLISHER, &stores)?, spawn(SUBSCRIBER, &stores)?);
        let mut tasks = JoinSet::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let own_subscriber = listener.local_addr()?;
        subscribe(listener, &stores.redis, &format!("{CHANNEL}-own"), &mut tasks).await?;
        Ok(Self { publisher, subscriber, own_subscriber, stores, _tasks: tasks })
    }

    /// What makes a lane's changes from this process.
    pub async fn writer(&self, lane: usize) -> anyhow::Result<Writer> {
        Writer::connect(&self.stores, &format!("{CHANNEL}-own"), lane).await
    }
}

/// A request that a publisher understands; the head as long as the product's.
pub fn request(lane: usize) -> Vec<u8> {
    format!("PATCH /{lane} HTTP/1.1\r\nAuthorization: Bearer {}\r\n\r\n", ".".repeat(450)).into_bytes()
}

/// A subscriber alone, for what is published elsewhere.
pub fn subscriber(redis: &str) -> anyhow::Result<Server> {
    spawn(SUBSCRIBER, &Stores { postgres: String::new(), promise: String::new(), redis: redis.to_owned() })
}

fn spawn(role: &str, stores: &Stores) -> anyhow::Result<Server> {
    let (process, address) = Running::start(role, &[&stores.postgres, &stores.promise, &stores.redis])?;
    Ok(Server { process, address })
}

pub async fn serve(role: &str) -> anyhow::Result<()> {
    let mut lines = std::io::stdin().lines();
    let mut line = || lines.next().context("three lines on stdin: the stores")?.context("stdin");
    let stores = Stores { postgres: line()?, promise: line()?, redis: line()? };
    rlimit::increase_nofile_limit(u64::MAX)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let mut tasks = JoinSet::new();
    if role == SUBSCRIBER {
        subscribe(listener, &stores.redis, CHANNEL, &mut tasks).await?;
    } else {
        publish(listener, stores, &mut tasks);
    }
    println!("{address}");
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// What a subscriber understands: which socket a frame is for, and the frame.
pub fn message(lane: usize) -> anyhow::Result<Vec<u8>> {
    Ok([&u16::try_from(lane)?.to_be_bytes()[..], &frame()].concat())
}

/// A text frame, about as long as that of a status change.
pub fn frame() -> [u8; 4 + TEXT_BYTES as usize] {
    let mut frame = [b'.'; 4 + TEXT_BYTES as usize];
    frame[..4].copy_from_slice(&[0x81, 126, 0, TEXT_BYTES]);
    frame
}

/// Makes the changes of one lane.
pub struct Writer {
    lane: usize,
    channel: String,
    message: Vec<u8>,
    postgres: PgConnection,
    redis: MultiplexedConnection,
}

impl Writer {
    async fn connect(stores: &Stores, channel: &str, lane: usize) -> anyhow::Result<Self> {
        let database = match Writes::of(lane) {
            Writes::Row => &stores.postgres,
            Writes::Promise => &stores.promise,
        };
        Ok(Self {
            lane,
            channel: channel.to_owned(),
            message: message(lane)?,
            postgres: PgConnection::connect(database).await?,
            redis: client(&stores.redis)?.get_multiplexed_async_connection().await?,
        })
    }

    /// One commit and one message.
    pub async fn change(&mut self) -> anyhow::Result<()> {
        match Writes::of(self.lane) {
            Writes::Row => {
                sqlx::query("UPDATE floor SET status = $2, at = now() WHERE lane = $1")
                    .bind(i64::try_from(self.lane)?)
                    .bind("BUSY")
                    .execute(&mut self.postgres)
                    .await?;
            }
            Writes::Promise => promise::write(&mut self.postgres, self.lane).await?,
        }
        let mut publish = redis::cmd("PUBLISH");
        Ok(publish.arg(&self.channel).arg(&self.message[..]).query_async(&mut self.redis).await?)
    }
}

fn client(url: &str) -> anyhow::Result<Client> {
    let nodelay = TcpSettings::default().set_nodelay(true);
    Ok(Client::open(url.into_connection_info()?.set_tcp_settings(nodelay))?)
}

/// Answers each request when its change is made.
fn publish(listener: TcpListener, stores: Stores, tasks: &mut JoinSet<()>) {
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let stores = stores.clone();
            connections.spawn(async move {
                let _ended = answer(stream, &stores).await;
            });
        }
    });
}

async fn answer(mut stream: TcpStream, stores: &Stores) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = None;
    loop {
        let lane = head(&mut stream).await?;
        let writer = match &mut writer {
            Some(writer) => writer,
            none => none.insert(Writer::connect(stores, CHANNEL, lane).await?),
        };
        writer.change().await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
    }
}

/// Sends what is published on to the sockets.
async fn subscribe(
    listener: TcpListener,
    redis: &str,
    channel: &str,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let mut subscription = client(redis)?.get_async_pubsub().await?;
    subscription.subscribe(channel).await?;
    let sockets: Arc<Mutex<HashMap<usize, TcpStream>>> = Arc::default();
    let accepted = Arc::clone(&sockets);
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let opened = async {
                stream.set_nodelay(true)?;
                let lane = head(&mut stream).await?;
                stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await?;
                anyhow::Ok(lane)
            };
            if let Ok(lane) = opened.await {
                accepted.lock().insert(lane, stream);
            }
        }
    });
    tasks.spawn(async move {
        let mut messages = subscription.into_on_message();
        while let Some(message) = messages.next().await {
            let Some((lane, frame)) = message.get_payload_bytes().split_first_chunk() else { continue };
            if let Some(socket) = sockets.lock().get(&usize::from(u16::from_be_bytes(*lane))) {
                // A frame of this size always fits a socket's buffer.
                let _sent = socket.try_write(frame);
            }
        }
    });
    Ok(())
}

/// Reads a request's head; returns the number in its path.
async fn head(stream: &mut TcpStream) -> anyhow::Result<usize> {
    let mut head = Vec::with_capacity(1024);
    while !head.ends_with(REQUEST_END) {
        anyhow::ensure!(stream.read_buf(&mut head).await? > 0, "the client hung up");
    }
    let text = std::str::from_utf8(&head)?;
    let path = text.split(' ').nth(1).context("a request line")?;
    path.trim_start_matches('/').parse().context("a lane")
}
