//! What 1,000 clients that do not read cost those who do.
//!
//! Everybody of the thousand has more events to get than the kernel's buffers take, so that the node's writes to
//! those who do not read stand still. Beside it, in the same run and in turns: the same thousand, reading, and
//! nobody. Meanwhile couples on the same node change their lights at fixed times, and a change's time counts from
//! when it was due until the partner has it; the thousand get an event now and then, too, even when they are not there.
//! A percentile is that of each round; what is compared are rounds that followed one another.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fanlight::dev::cluster::Cluster;
use fanlight::dev::people::{self, Person};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use parking_lot::Mutex;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};
use uuid::Uuid;

use crate::Size;
use crate::crowd::{one_node, set_last_seqs};
use crate::processes::{cpu_us, rss_kib};
use crate::statistics::{Spread, percentile};
use crate::wire::{TOKEN_TTL, Wire, address, change};

const COUPLES: usize = 20;
/// What waits for each reader; together more than a socket's buffers hold.
const EVENTS: i32 = 40;
const EVENT_BYTES: i32 = 4_000;
const RECEIVE_BUFFER_BYTES: u32 = 4_096;
/// Connections that are being opened at once.
const OPENING: usize = 16;
/// A node and a Postgres that use so little of a second are through with what the change of scene caused.
const QUIET_US: f64 = 100_000.0;
/// Between two changes of the couples.
const PACE: Duration = Duration::from_millis(10);
/// Between two changes of the partners of the thousand.
const READER_PACE: Duration = Duration::from_millis(20);
const READER_LANES: usize = 10;
const ARRIVED_WITHIN: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    Nobody,
    Reading,
    Stalled,
}

const SCENES: [(Scene, &str); 3] =
    [(Scene::Nobody, "nobody"), (Scene::Reading, "clients who read"), (Scene::Stalled, "clients who do not")];

pub async fn measure(size: Size) -> anyhow::Result<()> {
    // They must stay for the round.
    let cluster = one_node(&[("SOCKETS__WRITE_TIMEOUT_MS", "600000".to_owned())]).await?;
    let pool = PgPool::connect(&cluster.postgres_url()).await?;
    let bench = Bench::prepare(&cluster, &pool, size).await?;

    let mut measured = SCENES.map(|_| Vec::new());
    let turns = size.of(6, 1);
    for turn in 1..=turns {
        for ((scene, name), rounds) in SCENES.iter().zip(&mut measured) {
            let round = bench.round(*scene).await?;
            println!("{turn}/{turns} {name}: p50 {:.2} ms, p99 {:.2} ms", round.p50, round.p99);
            rounds.push(round);
        }
    }
    report(&measured);
    cluster.stop().await;
    Ok(())
}

/// What one round has shown.
struct Round {
    /// How long changes took to arrive, in ms.
    p50: f64,
    p99: f64,
    /// In ms per second.
    node_cpu: f64,
    postgres_cpu: f64,
    rss_mib: f64,
}

fn report(measured: &[Vec<Round>; 3]) {
    println!(
        "\n{COUPLES} couples, a change every {PACE:?}, beside the thousand on one node; medians of the rounds,\n\
         in brackets their quartiles:\n"
    );
    println!(
        "{:<20}{:>10}{:>24}{:>24}{:>12}{:>16}{:>10}",
        "", "p50 ms", "p99 ms", "p99 / reading", "node ms/s", "Postgres ms/s", "RSS MiB"
    );
    let [_, reading, _] = measured;
    for ((_, name), rounds) in SCENES.iter().zip(measured) {
        let of = |value: &dyn Fn(&Round) -> f64| percentile(rounds.iter().map(value), 0.5);
        let ratio = rounds.iter().zip(reading).map(|(round, reading)| round.p99 / reading.p99);
        println!(
            "{name:<20}{:>10.2}{:>24}{:>24}{:>12.0}{:>16.0}{:>10.1}",
            of(&|round| round.p50),
            Spread::of(rounds.iter().map(|round| round.p99)).to_string(),
            Spread::of(ratio).to_string(),
            of(&|round| round.node_cpu),
            of(&|round| round.postgres_cpu),
            of(&|round| round.rss_mib),
        );
    }
}

struct Bench {
    round: Duration,
    quiet_within: Duration,
    server: SocketAddr,
    node: u32,
    postgres: u32,
    readers: Vec<Person>,
    readers_partners: Vec<Person>,
    actors: Vec<Person>,
    partners: Vec<Person>,
}

impl Bench {
    async fn prepare(cluster: &Cluster, pool: &PgPool, size: Size) -> anyhow::Result<Self> {
        let count = size.of(1_000, 20);
        let readers = people::people(cluster, pool, count, TOKEN_TTL).await?;
        let readers_partners = people::people(cluster, pool, count, TOKEN_TTL).await?;
        let actors = people::people(cluster, pool, COUPLES, TOKEN_TTL).await?;
        let partners = people::people(cluster, pool, COUPLES, TOKEN_TTL).await?;
        people::link(pool, &readers_partners, &readers).await?;
        people::link(pool, &actors, &partners).await?;
        leave_events(pool, &readers).await?;
        let node = &cluster.nodes[0];
        let server = address(&node.http())?;
        let (node, postgres) = (node.process.pid(), cluster.postgres.process.pid());
        let round = size.of(Duration::from_secs(20), Duration::from_millis(300));
        let quiet_within = size.of(Duration::from_secs(20), Duration::from_secs(1));
        Ok(Self { round, quiet_within, server, node, postgres, readers, readers_partners, actors, partners })
    }

    async fn round(&self, scene: Scene) -> anyhow::Result<Round> {
        let mut crowd = JoinSet::new();
        let mut stalled = Vec::new();
        match scene {
            Scene::Nobody => {}
            Scene::Reading => {
                for mut wire in self.open_all(EVENTS).await? {
                    crowd.spawn(async move { while wire.text().await.is_ok() {} });
                }
            }
            // Without `since` of what they saw last, they are sent all of it.
            Scene::Stalled => stalled = self.open_all(0).await?,
        }
        self.until_quiet().await?;
        let (started, before) = (Instant::now(), self.cpu_us()?);
        let changing = self.change_for_readers();
        let measuring = self.measure();
        let arrived = tokio::select! {
            failed = changing => return Err(failed),
            arrived = measuring => arrived?,
        };
        let (after, seconds) = (self.cpu_us()?, started.elapsed().as_secs_f64());
        let rss_mib = rss_kib(self.node)? / 1024.0;
        drop((crowd, stalled));
        self.until_quiet().await?;
        let [node_cpu, postgres_cpu] =
            [after.0 - before.0, after.1 - before.1].map(|us| us / 1_000.0 / seconds);
        let [p50, p99] = [0.5, 0.99].map(|share| percentile(arrived.iter().copied(), share));
        Ok(Round { p50, p99, node_cpu, postgres_cpu, rss_mib })
    }

    /// Of the node and of Postgres.
    fn cpu_us(&self) -> anyhow::Result<(f64, f64)> {
        Ok((cpu_us(self.node)?, cpu_us(self.postgres)?))
    }

    async fn until_quiet(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.quiet_within;
        loop {
            let before = self.cpu_us()?;
            sleep(Duration::from_secs(1)).await;
            let after = self.cpu_us()?;
            if after.0 - before.0 + after.1 - before.1 <= QUIET_US || Instant::now() > deadline {
                return Ok(());
            }
        }
    }

    /// The thousand, with small buffers.
    async fn open_all(&self, since: i32) -> anyhow::Result<Vec<Wire>> {
        let path = format!("/ws?since={since}");
        stream::iter(&self.readers)
            .map(|reader| {
                let path = &path;
                async move {
                    let mut wire =
                        Wire::connect_with(self.server, Ipv4Addr::LOCALHOST, Some(RECEIVE_BUFFER_BYTES))
                            .await?;
                    wire.open(path, &reader.token).await?;
                    anyhow::Ok(wire)
                }
            })
            .buffer_unordered(OPENING)
            .try_collect()
            .await
    }

    /// Makes an event for one after the other of the thousand, until it is dropped. Returns only a failure.
    async fn change_for_readers(&self) -> anyhow::Error {
        let lanes = (0..READER_LANES).map(|lane| async move {
            let started = Instant::now();
            let mut wire = Wire::connect(self.server, Ipv4Addr::LOCALHOST).await?;
            for turn in 0_u32.. {
                let position = turn as usize * READER_LANES + lane;
                sleep_until((started + READER_PACE * u32::try_from(position)?).into()).await;
                let actor = &self.readers_partners[position % self.readers_partners.len()];
                let head = wire.exchange(&change(actor, ["BUSY", "AVAILABLE"][turn as usize % 2])).await?;
                ensure!(head.starts_with("HTTP/1.1 200"), "answered: {head}");
            }
            anyhow::Ok(())
        });
        match futures_util::future::try_join_all(lanes).await {
            Ok(_) => anyhow::anyhow!("there are so many turns in no run"),
            Err(error) => error,
        }
    }

    /// How long the couples' changes take to arrive, in ms.
    async fn measure(&self) -> anyhow::Result<Vec<f64>> {
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let mut reading = JoinSet::new();
        let mut lanes = Vec::new();
        for (actor, partner) in self.actors.iter().zip(&self.partners) {
            let pending = Arc::new(Mutex::new(VecDeque::<Instant>::new()));
            let mut socket = Wire::connect(self.server, Ipv4Addr::LOCALHOST).await?;
            socket.open("/ws", &partner.token).await?;
            let (waiting, arrived) = (Arc::clone(&pending), Arc::clone(&arrived));
            reading.spawn(async move {
                while socket.text().await.is_ok() {
                    // A couple's changes arrive in the order in which they were made.
                    if let Some(due) = waiting.lock().pop_front() {
                        arrived.lock().push(due.elapsed().as_secs_f64() * 1_000.0);
                    }
                }
            });
            lanes.push((actor, pending));
        }
        let started = Instant::now();
        let calls = lanes.iter().enumerate().map(|(lane, (actor, pending))| async move {
            let mut wire = Wire::connect(self.server, Ipv4Addr::LOCALHOST).await?;
            for turn in 0_u32.. {
                let due = started + PACE * u32::try_from(turn as usize * COUPLES + lane)?;
                if due >= started + self.round {
                    return anyhow::Ok(());
                }
                sleep_until(due.into()).await;
                pending.lock().push_back(due);
                let head = wire.exchange(&change(actor, ["BUSY", "AVAILABLE"][turn as usize % 2])).await?;
                ensure!(head.starts_with("HTTP/1.1 200"), "answered: {head}");
            }
            Ok(())
        });
        futures_util::future::try_join_all(calls).await?;
        let all_arrived = async {
            while lanes.iter().any(|(_, pending)| !pending.lock().is_empty()) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(ARRIVED_WITHIN, all_arrived).await.context("a change did not arrive")?;
        Ok(std::mem::take(&mut *arrived.lock()))
    }
}

/// Events that were confirmed long ago, for clients that say that they have seen none.
async fn leave_events(pool: &PgPool, readers: &[Person]) -> anyhow::Result<()> {
    let ids: Vec<Uuid> = readers.iter().map(|reader| reader.id.0).collect();
    set_last_seqs(pool, &ids, EVENTS.into()).await?;
    sqlx::query(
        r#"INSERT INTO events (id, user_id, seq, kind, body, created_at, due_at, expires_at, settled_at, outcome)
           SELECT gen_random_uuid(), id, seq, 'TEST', '{"type":"TEST","text":"' || repeat('x', $3) || '"}',
                  now(), now(), now() + interval '1 day', now(), 'delivered'
           FROM unnest($1::uuid[]) AS id, generate_series(1, $2) AS seq"#,
    )
    .bind(&ids)
    .bind(EVENTS)
    .bind(EVENT_BYTES)
    .execute(pool)
    .await?;
    sqlx::query("ANALYZE").execute(pool).await?;
    Ok(())
}
