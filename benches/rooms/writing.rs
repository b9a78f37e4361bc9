//! How many messages a second can be written, into one channel and into a hundred.
//!
//! Each sender writes one after the other. In one channel all wait for the same row: that is what makes its messages' numbers the
//! order of their commits. The floor counts up, inserts and publishes, and nothing around it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::ensure;
use fanlight::dev::cluster::Cluster;
use fanlight::dev::people::{self, Person};
use futures_util::future::try_join_all;
use sqlx::PgPool;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{CONTENT, Room};
use crate::Size;
use crate::floors::writing::{Rooms, Writer};
use crate::processes::cpu_us;
use crate::statistics::{Spread, count};
use crate::table::{Goal, Row, Section};
use crate::wire::{TEXT, TOKEN_TTL, Wire, address, message};

/// As many as a node has connections to Postgres.
const SENDERS: usize = 20;
/// Also the most that one connection may subscribe to.
const CHANNELS: usize = 100;

pub async fn measure(cluster: &Cluster, pool: &PgPool, size: Size) -> anyhow::Result<Section> {
    let (length, rounds) = (size.of(Duration::from_secs(1), Duration::from_millis(200)), size.of(5, 1));
    let people = people::people(cluster, pool, SENDERS + 1, TOKEN_TTL).await?;
    let (listener, senders) = people.split_last().expect("there is one more than senders");
    let mut rooms = Vec::new();
    for _ in 0..CHANNELS {
        rooms.push(Room::of(pool, &people).await?);
    }
    let floor = Rooms::open(cluster, pool, CHANNELS).await?;
    // They stay: the CPU time of a connection that has ended would be lost.
    let mut writers = Vec::new();
    for _ in 0..SENDERS {
        writers.push(floor.writer().await?);
    }
    let mut listening = JoinSet::new();
    let mut wire = Wire::connect(address(&cluster.nodes[1].http())?, Ipv4Addr::LOCALHOST).await?;
    wire.open("/ws", &listener.token).await?;
    for room in &rooms {
        wire.write(TEXT, room.subscribe().as_bytes()).await?;
        wire.text().await?;
    }
    listening.spawn(async move { while wire.text().await.is_ok() {} });

    let server = address(&cluster.nodes[0].http())?;
    let processes =
        [cluster.nodes[0].process.pid(), cluster.postgres.process.pid(), cluster.redis.process.pid()];
    let mut rates: [[Vec<f64>; 2]; 2] = Default::default();
    let mut cpu: [[Vec<[f64; 3]>; 2]; 2] = Default::default();
    for _ in 0..rounds {
        for (channels, (rates, cpu)) in [1, CHANNELS].into_iter().zip(rates.iter_mut().zip(&mut cpu)) {
            for side in 0..2 {
                let before = cpu_of(processes)?;
                let written: Vec<usize> = if side == 0 {
                    let rooms = &floor.ids[..channels];
                    let writing = writers.iter_mut().enumerate().map(|it| write_floor(rooms, it, length));
                    try_join_all(writing).await?
                } else {
                    let rooms = &rooms[..channels];
                    let writers = senders.iter().enumerate().map(|it| write(server, rooms, it, length));
                    try_join_all(writers).await?
                };
                let (after, written) = (cpu_of(processes)?, count(written.into_iter().sum()));
                rates[side].push(written / length.as_secs_f64());
                cpu[side].push([0, 1, 2].map(|process: usize| (after[process] - before[process]) / written));
            }
        }
    }
    ensure!(listening.try_join_next().is_none(), "who listens to all channels has lost the connection");
    report(&cpu);
    let row = |channels: &str, [floor, fanlight]: &[Vec<f64>; 2]| Row {
        metric: format!("messages written per second into {channels}, {SENDERS} senders"),
        floor: Some(Spread::of(floor.iter().copied())),
        fanlight: Some(Spread::of(fanlight.iter().copied())),
        goal: Goal::None,
    };
    let many = format!("{CHANNELS} channels");
    let rows = vec![row("one channel", &rates[0]), row(&many, &rates[1])];
    let method = format!(
        "{SENDERS} senders, each of whom writes one message after the other by `POST /messages` at one node; somebody on another node \
         subscribes to all of it. Floor: as many connections to Postgres, each of which counts up and inserts in one statement \
         that commits, then one `PUBLISH`; no requests, no access, no index for the search. In turns, {rounds} rounds. Postgres is \
         durable."
    );
    Ok(Section { method, rows })
}

fn cpu_of(processes: [u32; 3]) -> anyhow::Result<[f64; 3]> {
    Ok([cpu_us(processes[0])?, cpu_us(processes[1])?, cpu_us(processes[2])?])
}

fn report(cpu: &[[Vec<[f64; 3]>; 2]; 2]) {
    println!("{:<30}{:>22}{:>22}{:>22}", "µs of CPU per message", "the node", "Postgres", "Redis");
    for (channels, cpu) in [1, CHANNELS].into_iter().zip(cpu) {
        for (name, rounds) in ["floor", "Fanlight"].into_iter().zip(cpu) {
            print!("{:<30}", format!("{name}, channels: {channels}"));
            for process in 0..3 {
                print!("{:>22}", Spread::of(rounds.iter().map(|round| round[process])).to_string());
            }
            println!();
        }
    }
    println!();
}

/// Returns how many one sender has written.
async fn write(
    server: SocketAddr,
    rooms: &[Room],
    (sender, author): (usize, &Person),
    length: Duration,
) -> anyhow::Result<usize> {
    let requests: Vec<String> = rooms.iter().map(|room| message(author, room.id, CONTENT)).collect();
    let mut wire = Wire::connect(server, Ipv4Addr::LOCALHOST).await?;
    let (begun, mut written) = (Instant::now(), 0);
    while begun.elapsed() < length {
        let head = wire.exchange(requests[(sender + written) % requests.len()].as_bytes()).await?;
        ensure!(head.starts_with("HTTP/1.1 201"), "answered: {head}");
        written += 1;
    }
    Ok(written)
}

async fn write_floor(
    rooms: &[Uuid],
    (sender, writer): (usize, &mut Writer),
    length: Duration,
) -> anyhow::Result<usize> {
    let (begun, mut written) = (Instant::now(), 0);
    while begun.elapsed() < length {
        writer.write(rooms[(sender + written) % rooms.len()], CONTENT).await?;
        written += 1;
    }
    Ok(written)
}
