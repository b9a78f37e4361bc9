//! One message to a room of ten thousand sockets on one node: when the last of them has it, and what it does to others.
//!
//! The floor holds as many sockets and writes the same number of bytes to each, one after the other; the same program listens.

use std::cell::Cell;
use std::time::Duration;

use fanlight::dev::cluster::Cluster;
use sqlx::PgPool;
use tokio::task::JoinSet;

use super::Hall;
use super::audience::{Audience, Heard, Request, SAID};
use crate::Size;
use crate::floors::crier;
use crate::processes::{Running, cpu_us};
use crate::statistics::{Spread, count, percentile};
use crate::status_path::{COUPLES, Path};
use crate::table::{Goal, Row, Section};

/// Status changes a second of the others.
const RATE: f64 = 100.0;

/// A server, and all who listen to it.
struct Side<'a> {
    name: &'static str,
    pid: u32,
    listeners: usize,
    audience: &'a mut Audience,
    request: Request,
}

impl Side<'_> {
    async fn say(&mut self) -> anyhow::Result<Heard> {
        self.audience.hear(0..self.listeners, &self.request).await
    }
}

pub async fn measure(
    cluster: &Cluster,
    pool: &PgPool,
    hall: &mut Hall,
    size: Size,
) -> anyhow::Result<Section> {
    let (listeners, request) = (hall.people.len(), hall.room.message(hall.server));
    // Once for the caches, and to know how long it is.
    let bytes = hall.audience.hear(hall.seats(), &request).await?.bytes;
    let (process, address) = Running::start(crier::CRIER, &[])?;
    let mut crowd = Audience::start().await?;
    crowd.come(address, vec![String::new(); listeners]).await?;
    let cry = Request { server: address, text: crier::request(SAID, bytes) };
    let mut sides = [
        Side { name: "floor", pid: process.pid(), listeners, audience: &mut crowd, request: cry },
        Side {
            name: "Fanlight",
            pid: cluster.nodes[0].process.pid(),
            listeners,
            audience: &mut hall.audience,
            request,
        },
    ];
    let mut rows = arrivals(&mut sides, size).await?;
    rows.extend(others(cluster, pool, &mut sides, size).await?);
    let method = format!(
        "{listeners} sockets on one node, all in one room, and one message of {bytes} bytes at a time, by `POST /messages`; from before \
         the request is written until the last socket's frame is read, so with HTTP, the limit in Redis and the commit. Floor: a \
         loop that writes as many bytes to as many sockets, from one thread, after a bare request. Each has a process that listens, of \
         the same program. In turns, {} rounds; medians (quartiles). CPU: the server's process, per socket. Others: {RATE} status \
         changes a second of {COUPLES} couples on the same node, timed from when they are due, while one message after the other is \
         told; their floor: the same while the floor tells its own {listeners}, beside the node.",
        rounds(size)
    );
    Ok(Section { method, rows })
}

fn rounds(size: Size) -> usize {
    size.of(15, 2)
}

async fn arrivals(sides: &mut [Side<'_>; 2], size: Size) -> anyhow::Result<Vec<Row>> {
    let mut measured = [Vec::new(), Vec::new()];
    for _ in 0..rounds(size) {
        for (side, measured) in sides.iter_mut().zip(&mut measured) {
            let before = cpu_us(side.pid)?;
            let heard = side.say().await?;
            measured.push((heard, (cpu_us(side.pid)? - before) / count(side.listeners)));
        }
    }
    let listeners = sides[0].listeners;
    println!("One message to {listeners} sockets, ms after the request:\n");
    println!("{:<10}{:>22}{:>22}{:>22}{:>22}", "", "answered", "first", "median", "last");
    for (side, measured) in sides.iter().zip(&measured) {
        let spread =
            |time: fn(&Heard) -> f64| Spread::of(measured.iter().map(|(heard, _)| time(heard))).to_string();
        println!(
            "{:<10}{:>22}{:>22}{:>22}{:>22}",
            side.name,
            spread(|heard| heard.answered),
            spread(|heard| heard.first),
            spread(|heard| heard.median),
            spread(|heard| heard.last)
        );
    }
    let row = |metric: String, value: fn(&(Heard, f64)) -> f64, goal| {
        let [floor, fanlight] = [0, 1].map(|side: usize| Some(Spread::of(measured[side].iter().map(value))));
        Row { metric, floor, fanlight, goal }
    };
    Ok(vec![
        row(
            format!("room 1 → {listeners} sockets, last receiver, ms"),
            |(heard, _)| heard.last,
            Goal::TimesFloor(1.2),
        ),
        row("CPU per receiver of a room's message, µs".to_owned(), |(_, cpu)| *cpu, Goal::None),
    ])
}

/// How long the status changes of others take: beside nothing, beside the floor at work, and on a node at work.
async fn others(
    cluster: &Cluster,
    pool: &PgPool,
    sides: &mut [Side<'_>; 2],
    size: Size,
) -> anyhow::Result<Vec<Row>> {
    let length = size.of(Duration::from_secs(2), Duration::from_millis(300));
    let mut tasks = JoinSet::new();
    let node = sides[1].request.server;
    let path = Path::over_cluster("others", [node; 2], cluster, pool, &mut tasks).await?;
    let mut scenes: [Vec<[f64; 2]>; 3] = Default::default();
    for _ in 0..size.of(3, 1) {
        for (scene, times) in scenes.iter_mut().enumerate() {
            let is_over = Cell::new(false);
            let serving = async {
                let Some(speaker) = scene.checked_sub(1) else { return Ok(()) };
                while !is_over.get() {
                    sides[speaker].say().await?;
                }
                anyhow::Ok(())
            };
            let changing = async {
                let round = path.round(RATE, length).await;
                is_over.set(true);
                round
            };
            let (served, round) = tokio::join!(serving, changing);
            served?;
            let arrived = round?.arrived;
            times.push(
                [0.5, 0.99]
                    .map(|share| percentile(arrived.iter().map(|time| time.as_secs_f64() * 1_000.0), share)),
            );
        }
    }
    let spread = |scene: usize, share: usize| Spread::of(scenes[scene].iter().map(|times| times[share]));
    println!("\n{:<44}{:>22}{:>22}", "A status change of others, while", "p50 ms", "p99 ms");
    for (scene, name) in
        ["nothing is said", "the floor tells its sockets", "Fanlight tells its room"].into_iter().enumerate()
    {
        println!("{name:<44}{:>22}{:>22}", spread(scene, 0).to_string(), spread(scene, 1).to_string());
    }
    let row = |(share, name)| Row {
        metric: format!("status change of others while such rooms are told, {name}, ms"),
        floor: Some(spread(1, share)),
        fanlight: Some(spread(2, share)),
        goal: Goal::None,
    };
    Ok([(0, "p50"), (1, "p99")].map(row).into())
}
