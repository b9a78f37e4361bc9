//! What a connect costs a node: the CPU time from `accept` until the user is in presence and what they missed is known.
//!
//! Everybody has a token that the node has never seen. The floor accepts, reads the request and answers 101.

use std::time::{Duration, Instant};

use anyhow::ensure;
use fanlight::dev::cluster::Cluster;
use fanlight::dev::people;
use redis::aio::MultiplexedConnection;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Size;
use crate::crowd::{Clients, one_node};
use crate::floors::holders;
use crate::processes::{Running, cpu_us};
use crate::statistics::{Spread, count};
use crate::table::{Goal, Row, Section};
use crate::wire::{TOKEN_TTL, address};

/// What comes after the answer is done by then, too.
const SETTLED: Duration = Duration::from_millis(300);
const PRESENT_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

pub async fn measure(size: Size) -> anyhow::Result<Section> {
    let (connects, rounds) = (size.of(1_000, 20), size.of(7, 1));
    let (process, bare) = Running::start(holders::BARE, &[])?;
    let cluster = one_node(&[]).await?;
    let pool = PgPool::connect(&cluster.postgres_url()).await?;
    let node = &cluster.nodes[0];
    let mut presence = Presence::of(&cluster).await?;
    let mut costs = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        let people = people::people(&cluster, &pool, connects, TOKEN_TTL).await?;
        let floor = Clients { server: bare, people: None, messages: 0, ping_every: None };
        let ours = Clients { server: address(&node.http())?, people: Some(&people), ..floor };
        let floor = cost(process.pid(), &floor, connects, None).await?;
        let ours = cost(node.process.pid(), &ours, connects, Some(&mut presence)).await?;
        println!("{round}/{rounds}: {floor:.1} µs of CPU per connect the floor, {ours:.1} µs Fanlight");
        costs[0].push(floor);
        costs[1].push(ours);
    }
    cluster.stop().await;
    let [floor_us, our_us] = [&costs[0], &costs[1]].map(|us| Spread::of(us.iter().copied()));
    let [floor_rate, our_rate] =
        [&costs[0], &costs[1]].map(|us| Spread::of(us.iter().map(|us| 1_000_000.0 / us)));
    let rows = vec![
        Row {
            metric: "connects per second and core, token verified, presence written".to_owned(),
            floor: Some(floor_rate),
            fanlight: Some(our_rate),
            goal: Goal::ShareOfFloor(0.6),
        },
        Row {
            metric: "CPU per connect, µs".to_owned(),
            floor: Some(floor_us),
            fanlight: Some(our_us),
            goal: Goal::None,
        },
    ];
    let method = format!(
        "{connects} connects a round, with ES256 tokens that the node has never seen, until all are in Redis and what each missed \
         was read from Postgres; what is divided is the CPU time of the node's process. Floor: accept, read the request, \
         answer 101. In turns, {rounds} rounds."
    );
    Ok(Section { method, rows })
}

/// The CPU time of one connect.
async fn cost(
    pid: u32,
    clients: &Clients<'_>,
    connects: usize,
    presence: Option<&mut Presence>,
) -> anyhow::Result<f64> {
    let mut held = JoinSet::new();
    let before = cpu_us(pid)?;
    clients.open(0..connects, &mut held).await?;
    let Some(presence) = presence else {
        sleep(SETTLED).await;
        return Ok((cpu_us(pid)? - before) / count(connects));
    };
    presence.until(connects).await?;
    sleep(SETTLED).await;
    let cost = (cpu_us(pid)? - before) / count(connects);
    // What leaving costs does not fall into the next round.
    held.shutdown().await;
    presence.until(0).await?;
    sleep(SETTLED).await;
    Ok(cost)
}

/// How many users Redis knows to be connected.
struct Presence(MultiplexedConnection);

impl Presence {
    async fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        Ok(Self(redis::Client::open(cluster.redis.url())?.get_multiplexed_async_connection().await?))
    }

    async fn until(&mut self, users: usize) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let keys: Vec<String> = redis::cmd("KEYS").arg("*:presence:*").query_async(&mut self.0).await?;
            if keys.len() == users {
                return Ok(());
            }
            ensure!(started.elapsed() < PRESENT_WITHIN, "Redis knows {} of {users} users", keys.len());
            sleep(POLL).await;
        }
    }
}
