//! Many clients of one server that stay connected.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use fanlight::dev::cluster::{Cluster, ClusterOptions};
use fanlight::dev::people::Person;
use futures_util::StreamExt as _;
use futures_util::stream;
use sqlx::PgPool;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use crate::wire::{PING, Wire};

/// Connections that are being opened at once.
pub const OPENING: usize = 32;
/// Each has ports for 28,000 connections.
const SOURCES: usize = 8;

/// Lets nodes take connections as fast as they can; how fast they let a crowd in is not what is measured.
pub fn without_pace() -> [(String, String); 3] {
    let pace = ["HANDSHAKES_PER_SECOND", "HANDSHAKES_BURST", "BEGINNING_MAX"];
    pace.map(|name| (format!("FANLIGHT__SOCKETS__{name}"), "100000".to_owned()))
}

/// A cluster of one node that takes connections as fast as it can.
pub async fn one_node(env: &[(&str, String)]) -> anyhow::Result<Cluster> {
    let env = env.iter().map(|(name, value)| (format!("FANLIGHT__{name}"), value.clone()));
    let env = env.chain(without_pace()).collect();
    let binary = env!("CARGO_BIN_EXE_fanlight");
    Cluster::start(ClusterOptions { nodes: 1, env, ..ClusterOptions::scratch(binary) }).await
}

/// Where clients connect, and as whom.
#[derive(Clone, Copy)]
pub struct Clients<'a> {
    pub server: SocketAddr,
    /// One each; nobody for a server that does not ask.
    pub people: Option<&'a [Person]>,
    /// How many messages each sends and receives at first.
    pub messages: usize,
    /// How often a client says that it lives; of a server that asks by itself, never.
    pub ping_every: Option<Duration>,
}

impl Clients<'_> {
    /// Opens connections, and lets each send and receive its messages; then they stay, and answer pings.
    pub async fn open(&self, range: Range<usize>, held: &mut JoinSet<()>) -> anyhow::Result<()> {
        let mut opening = stream::iter(range)
            .map(|index| {
                let (ready, is_ready) = oneshot::channel();
                let token = self.people.map(|people| people[index].token.clone()).unwrap_or_default();
                let (server, messages, ping_every) = (self.server, self.messages, self.ping_every);
                held.spawn(async move {
                    let (wire, heard) = match converse(server, index, &token, messages).await {
                        Ok(wire) => (Some(wire), Ok(())),
                        Err(error) => (None, Err(error)),
                    };
                    let _heard = ready.send(heard);
                    if let Some(wire) = wire {
                        let _ended = stay(wire, ping_every).await;
                    }
                });
                is_ready
            })
            .buffer_unordered(OPENING);
        while let Some(ready) = opening.next().await {
            ready??;
        }
        Ok(())
    }
}

/// Opens the connection of one of many, and lets it send and receive its messages.
pub async fn converse(
    server: SocketAddr,
    index: usize,
    token: &str,
    messages: usize,
) -> anyhow::Result<Wire> {
    let source = Ipv4Addr::new(127, 0, 0, u8::try_from(2 + index % SOURCES)?);
    let mut wire = Wire::connect(server, source).await?;
    wire.open("/ws", token).await?;
    for _ in 0..messages {
        wire.greet().await?;
    }
    Ok(wire)
}

async fn stay(mut wire: Wire, ping_every: Option<Duration>) -> anyhow::Result<()> {
    loop {
        let Some(ping_every) = ping_every else {
            wire.text().await?;
            continue;
        };
        // Cancel-safe: what was read stays in the wire's buffer, and these servers send no pings that would be answered.
        match timeout(ping_every, wire.text()).await {
            Ok(text) => drop(text?),
            Err(_) => wire.write(PING, b"").await?,
        }
    }
}

/// Says that so many events were appended for each of these users.
pub async fn set_last_seqs(pool: &PgPool, users: &[Uuid], last_seq: i64) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO inboxes (user_id, last_seq) SELECT id, $2 FROM unnest($1::uuid[]) AS id
         ON CONFLICT (user_id) DO UPDATE SET last_seq = EXCLUDED.last_seq",
    )
    .bind(users)
    .bind(last_seq)
    .execute(pool)
    .await?;
    Ok(())
}
