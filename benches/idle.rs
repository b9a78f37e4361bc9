//! What an idle connection costs a node: the slopes of its memory, its CPU and its Redis commands between two numbers of
//! connections.
//!
//! Each connection has sent and received some messages before, and is asked with a ping whether it lives, once in a while.
//! Beside it, with the same allocator: a bare tokio program that answers the same frames (the floor), and a stock
//! `fastwebsockets` server. The kernel's memory for a socket is not in it; that of all three is the same.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use fanlight::dev::cluster::Cluster;
use fanlight::dev::people;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Size;
use crate::crowd::{Clients, one_node};
use crate::floors::holders;
use crate::processes::{Running, cpu_us, rss_kib};
use crate::statistics::count;
use crate::stores;
use crate::table::{Goal, Row, Section};
use crate::wire::{TOKEN_TTL, address};

const MESSAGES: usize = 10;

/// How many connections, and how long they are watched.
struct Plan {
    few: usize,
    many: usize,
    /// Between two pings of one connection; each is in the time that is watched once. Longer than jemalloc keeps pages that
    /// it does not need (`dirty_decay_ms`, 10 s).
    heartbeat: Duration,
    /// What connecting left to do is done.
    settled: Duration,
}

pub async fn measure(size: Size) -> anyhow::Result<Vec<Section>> {
    let plan = Plan {
        few: size.of(2_000, 20),
        many: size.of(10_000, 100),
        heartbeat: size.of(Duration::from_secs(25), Duration::from_secs(1)),
        settled: size.of(Duration::from_secs(3), Duration::from_millis(100)),
    };
    println!(
        "{:<16}{:>12}{:>12}{:>22}{:>30}{:>12}",
        "", "few MiB", "many MiB", "KiB per connection", "µs/s of CPU per connection", "connects/s"
    );
    let mut slopes = Vec::new();
    for (role, name) in [(holders::BARE, "floor"), (holders::STOCK, "fastwebsockets")] {
        let (process, address) = Running::start(role, &[])?;
        let ping_every = Some(plan.heartbeat);
        let clients = Clients { server: address, people: None, messages: MESSAGES, ping_every };
        slopes.push(plan.measure(name, process.pid(), &clients, None).await?);
    }
    let heartbeat = plan.heartbeat.as_millis().to_string();
    // All comparisons with Postgres are in the time that is watched, too.
    let cluster = one_node(&[
        ("SOCKETS__HEARTBEAT_MS", heartbeat.clone()),
        ("DELIVERY__RECONCILE_INTERVAL_MS", heartbeat),
    ])
    .await?;
    let pool = PgPool::connect(&cluster.postgres_url()).await?;
    let people = people::people(&cluster, &pool, plan.many, TOKEN_TTL).await?;
    let node = &cluster.nodes[0];
    let server: SocketAddr = address(&node.http())?;
    let clients = Clients { server, people: Some(&people), messages: MESSAGES, ping_every: None };
    let ours = plan.measure("Fanlight", node.process.pid(), &clients, Some(&cluster)).await?;
    cluster.stop().await;
    Ok(plan.sections(&slopes[0], &ours))
}

/// What a process has used so far.
struct Used {
    memory_kib: f64,
    cpu_us: f64,
    commands: f64,
}

/// What one more connection takes.
struct Slope {
    memory_kib: f64,
    /// Per second.
    cpu_us: f64,
    commands: f64,
}

impl Plan {
    async fn measure(
        &self,
        name: &str,
        pid: u32,
        clients: &Clients<'_>,
        cluster: Option<&Cluster>,
    ) -> anyhow::Result<Slope> {
        let mut held = JoinSet::new();
        clients.open(0..self.few, &mut held).await?;
        let few = self.watch(pid, cluster).await?;
        let connecting = Instant::now();
        clients.open(self.few..self.many, &mut held).await?;
        let connects = count(self.many - self.few) / connecting.elapsed().as_secs_f64();
        let many = self.watch(pid, cluster).await?;
        ensure!(held.len() == self.many && held.try_join_next().is_none(), "connections were lost");
        let each = |value: fn(&Used) -> f64| (value(&many) - value(&few)) / count(self.many - self.few);
        let seconds = self.heartbeat.as_secs_f64();
        let slope = Slope {
            memory_kib: each(|used| used.memory_kib),
            cpu_us: each(|used| used.cpu_us) / seconds,
            commands: each(|used| used.commands) / seconds,
        };
        println!(
            "{name:<16}{:>12.1}{:>12.1}{:>22.2}{:>30.3}{connects:>12.0}",
            few.memory_kib / 1024.0,
            many.memory_kib / 1024.0,
            slope.memory_kib,
            slope.cpu_us
        );
        Ok(slope)
    }

    /// What was used within one heartbeat, and the memory at its end.
    async fn watch(&self, pid: u32, cluster: Option<&Cluster>) -> anyhow::Result<Used> {
        sleep(self.settled).await;
        let before = used(pid, cluster).await?;
        sleep(self.heartbeat).await;
        let after = used(pid, cluster).await?;
        Ok(Used { cpu_us: after.cpu_us - before.cpu_us, commands: after.commands - before.commands, ..after })
    }

    fn sections(&self, floor: &Slope, ours: &Slope) -> Vec<Section> {
        let seconds = self.heartbeat.as_secs();
        let memory = Row {
            metric: "user memory per idle connection, KiB".to_owned(),
            floor: Some(floor.memory_kib.into()),
            fanlight: Some(ours.memory_kib.into()),
            goal: Goal::AtMost(1.5),
        };
        let cpu = Row {
            metric: format!("CPU per idle connection, a ping every {seconds} s, µs/s"),
            floor: Some(floor.cpu_us.into()),
            fanlight: Some(ours.cpu_us.into()),
            goal: Goal::TimesFloor(1.5),
        };
        let commands = Row {
            metric: "Redis commands per idle user and second".to_owned(),
            floor: None,
            fanlight: Some(ours.commands.into()),
            goal: Goal::Number(0),
        };
        let method = format!(
            "One server with {} and with {} connections, each of a user of its own, after {MESSAGES} messages both ways; what one \
             more connection takes is the difference over their number. Watched for {seconds} s, in which each is pinged once and a \
             node compares all of them with Postgres once. Floor: a tokio task that holds a socket, reads onto its stack, and \
             answers a client's ping. The same allocator (jemalloc).",
            self.few, self.many
        );
        vec![Section { method, rows: vec![memory, cpu, commands] }]
    }
}

async fn used(pid: u32, cluster: Option<&Cluster>) -> anyhow::Result<Used> {
    let commands = match cluster {
        Some(cluster) => stores::commands(cluster).await?.values().sum(),
        None => 0.0,
    };
    Ok(Used { memory_kib: rss_kib(pid)?, cpu_us: cpu_us(pid)?, commands })
}
