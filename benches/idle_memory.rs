//! What an idle connection costs a node in memory: the slope of its RSS between two numbers of connections.
//!
//! Each connection has sent and received some messages before. Beside it, in the same run and with the same
//! allocator: a bare tokio program that answers the same messages (the floor), and a stock `fastwebsockets` server.
//! The kernel's memory for a socket is not in it; that of all three is the same.
//!
//! `cargo bench --bench idle_memory` (needs `ulimit -n` of 12,000 or more)

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fanlight::dev::cluster::{Cluster, ClusterOptions};
use fanlight::dev::people::{self, Person};
use futures_util::StreamExt as _;
use futures_util::stream;
use sqlx::PgPool;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

mod holders;
mod stage;

use stage::{TEXT, TOKEN_TTL, Wire, address};

/// The allocator of the product, for the servers it is compared with.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const FEW: usize = 2_000;
const MANY: usize = 10_000;
const MESSAGES: usize = 10;
/// Connections that are being opened at once.
const OPENING: usize = 32;
/// Each has ports for 28,000 connections.
const SOURCES: usize = 8;
/// Longer than jemalloc keeps pages it does not need (`dirty_decay_ms`, 10 s).
const QUIET: Duration = Duration::from_secs(12);
const COMMAND: &[u8] = br#"{"type":"PING"}"#;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if let Some(kind) = holders::kind() {
        return holders::serve(kind).await;
    }
    rlimit::increase_nofile_limit(u64::MAX)?;
    println!(
        "RSS of a server with {FEW} and {MANY} idle connections, each after {MESSAGES} messages both ways:\n"
    );
    println!("{:<24}{:>12}{:>12}{:>20}{:>14}", "", "few MiB", "many MiB", "KiB per connection", "connects/s");
    let mut slopes = Vec::new();
    for kind in holders::KINDS {
        let (address, child) = spawn(kind)?;
        let server = Server { name: kind.trim_start_matches('-'), pid: child.0.id(), address };
        slopes.push(measure(&server, None).await?);
    }
    // Opened as fast as the node can; how fast it lets a crowd in is not what is measured.
    let pace = ["HANDSHAKES_PER_SECOND", "HANDSHAKES_BURST", "BEGINNING_MAX"]
        .map(|name| (format!("FANLIGHT__SOCKETS__{name}"), "100000".to_owned()));
    let binary = env!("CARGO_BIN_EXE_fanlight");
    let options = ClusterOptions { nodes: 1, env: pace.into(), ..ClusterOptions::scratch(binary) };
    let cluster = Cluster::start(options).await?;
    let pool = PgPool::connect(&cluster.postgres_url()).await?;
    let people = people::people(&cluster, &pool, MANY, TOKEN_TTL).await?;
    let node = &cluster.nodes[0];
    let server = Server { name: "fanlight", pid: node.process.pid(), address: address(&node.http())? };
    let slope = measure(&server, Some(&people)).await?;
    println!("\nFanlight: {:.1} x the floor.", slope / slopes[0]);
    cluster.stop().await;
    Ok(())
}

struct Server {
    name: &'static str,
    pid: u32,
    address: SocketAddr,
}

/// A process that ends with this one.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn spawn(kind: &str) -> anyhow::Result<(SocketAddr, Running)> {
    let mut child = Command::new(std::env::current_exe()?).arg(kind).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
    Ok((line.trim().parse()?, Running(child)))
}

/// Returns KiB per connection.
async fn measure(server: &Server, people: Option<&[Person]>) -> anyhow::Result<f64> {
    let mut held = JoinSet::new();
    let started = Instant::now();
    open(server, people, 0..FEW, &mut held).await?;
    tokio::time::sleep(QUIET).await;
    let few = rss_kib(server.pid)?;
    let connecting = Instant::now();
    open(server, people, FEW..MANY, &mut held).await?;
    let connects = count(MANY - FEW) / connecting.elapsed().as_secs_f64();
    tokio::time::sleep(QUIET).await;
    let many = rss_kib(server.pid)?;
    ensure!(held.len() == MANY, "connections were lost");
    ensure!(
        held.try_join_next().is_none(),
        "connections were closed {} s after the start",
        started.elapsed().as_secs()
    );
    let slope = (many - few) / count(MANY - FEW);
    println!("{:<24}{:>12.1}{:>12.1}{slope:>20.2}{connects:>14.0}", server.name, few / 1024.0, many / 1024.0);
    Ok(slope)
}

/// Opens connections, and lets each send and receive its messages; then they stay, and answer pings.
async fn open(
    server: &Server,
    people: Option<&[Person]>,
    range: std::ops::Range<usize>,
    held: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let mut opening = stream::iter(range)
        .map(|index| {
            let (ready, is_ready) = oneshot::channel();
            let token = people.map(|people| people[index].token.clone()).unwrap_or_default();
            let address = server.address;
            held.spawn(async move {
                match converse(address, index, &token).await {
                    Ok(mut wire) => {
                        let _heard = ready.send(Ok(()));
                        while wire.text().await.is_ok() {}
                    }
                    Err(error) => {
                        let _heard = ready.send(Err(error));
                    }
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

async fn converse(server: SocketAddr, index: usize, token: &str) -> anyhow::Result<Wire> {
    let source = Ipv4Addr::new(127, 0, 0, u8::try_from(2 + index % SOURCES)?);
    let mut wire = Wire::connect(server, source).await?;
    wire.open("/ws", token).await?;
    for _ in 0..MESSAGES {
        wire.write(TEXT, COMMAND).await?;
        wire.text().await?;
    }
    Ok(wire)
}

/// The process's own memory; what it shares with the file cache is not counted.
fn rss_kib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[expect(clippy::cast_precision_loss, reason = "tens of thousands")]
fn count(connections: usize) -> f64 {
    connections as f64
}
