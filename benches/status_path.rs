//! How long a light takes from a phone to the partner's phone on another node, and what it costs the stores.
//!
//! Beside it, in the same run and in turns, its floors on the same Postgres and Redis: the bare `UPDATE`, `PUBLISH`
//! and send in one process, and the same with the requests and processes between them. The load is open: changes are
//! due at fixed times whatever became of the ones before, and each one's time counts from when it was due.
//!
//! `cargo bench --bench status_path`

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fanlight::dev::cluster::{Cluster, ClusterOptions};
use fanlight::dev::state::StateDir;
use parking_lot::Mutex;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

mod floor;
mod stage;

use floor::Floor;
use stage::{Person, Wire, address};

/// As many as a node has connections to Postgres.
const COUPLES: usize = 20;
const ROUNDS: usize = 8;
const ROUND: Duration = Duration::from_secs(3);
/// Changes that may wait for their turn: more than a round has.
const ORDERS_MAX: usize = 65_536;
const ARRIVED_WITHIN: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if let Some(role) = floor::role() {
        return floor::serve(role).await;
    }
    // The stores as in production: every commit reaches the disk.
    let state = Some(StateDir::scratch()?);
    let binary = env!("CARGO_BIN_EXE_fanlight");
    let cluster = Cluster::start(ClusterOptions { state, ..ClusterOptions::scratch(binary) }).await?;
    let pool = PgPool::connect(&cluster.postgres_url()).await?;
    let floor = Floor::start(&cluster, &pool).await?;
    let mut tasks = JoinSet::new();
    let nodes = [address(&cluster.nodes[0].http())?, address(&cluster.nodes[1].http())?];
    let proxy = address(&cluster.url())?;
    let mut paths = [
        Path::over_floor(&floor, false, &mut tasks).await?,
        Path::over_floor(&floor, true, &mut tasks).await?,
        Path::over_cluster("Fanlight", nodes, &cluster, &pool, &mut tasks).await?,
        Path::over_cluster("Fanlight through HAProxy", [proxy, proxy], &cluster, &pool, &mut tasks).await?,
    ];

    for path in &paths {
        path.closed_loop().await?;
    }
    let (floor_rate, rate) = (paths[1].closed_loop().await?, paths[2].closed_loop().await?);
    println!(
        "Changes per second with {COUPLES} at once: {floor_rate:.0} the floor with its hops, {rate:.0} Fanlight."
    );
    println!("In turns, {ROUNDS} rounds of {} s each, at {:.0} per second:\n", ROUND.as_secs(), rate / 2.0);
    for _ in 0..ROUNDS {
        for path in &mut paths {
            let round = path.round(rate / 2.0).await?;
            path.rounds.push(round);
        }
    }
    report(&paths);
    costs(&paths[2], rate / 2.0, &cluster, &pool).await?;
    drop(tasks);
    drop(floor);
    cluster.stop().await;
    Ok(())
}

/// The times of a round: until the partner saw the change, and until the caller was answered.
#[derive(Clone, Debug, Default)]
struct Round {
    arrived: Vec<Duration>,
    answered: Vec<Duration>,
}

/// One couple on one path.
struct Lane {
    orders: mpsc::Sender<Instant>,
    /// When the changes that have not arrived were due.
    pending: Arc<Mutex<VecDeque<Instant>>>,
}

/// A way from one phone to the other.
struct Path {
    name: &'static str,
    lanes: Vec<Lane>,
    current: Arc<Mutex<Round>>,
    failed: Arc<AtomicBool>,
    rounds: Vec<Round>,
}

impl Path {
    fn new(name: &'static str) -> Self {
        Self { name, lanes: Vec::new(), current: Arc::default(), failed: Arc::default(), rounds: Vec::new() }
    }

    async fn over_floor(floor: &Floor, hops: bool, tasks: &mut JoinSet<()>) -> anyhow::Result<Self> {
        let mut path = Self::new(if hops { "floor with the same hops" } else { "floor" });
        for lane in 0..COUPLES {
            let caller = if hops {
                let wire = Wire::connect(floor.publisher, Ipv4Addr::LOCALHOST).await?;
                Caller::Http { wire, requests: [floor::request(lane), floor::request(lane)], calls: 0 }
            } else {
                Caller::Raw(Box::new(floor.writer(lane).await?))
            };
            let server = if hops { floor.subscriber } else { floor.own_subscriber };
            let mut partner = Wire::connect(server, Ipv4Addr::LOCALHOST).await?;
            partner.open(&format!("/{lane}"), "").await?;
            path.add(caller, partner, None, tasks);
        }
        Ok(path)
    }

    /// Each couple's first calls at one address, where it also has a socket; the other's socket is at the other.
    async fn over_cluster(
        name: &'static str,
        [first, second]: [SocketAddr; 2],
        cluster: &Cluster,
        pool: &PgPool,
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<Self> {
        let mut path = Self::new(name);
        let people = stage::people(cluster, pool, COUPLES * 2).await?;
        let (actors, partners) = people.split_at(COUPLES);
        for (actor, partner) in actors.iter().zip(partners) {
            link(pool, actor, partner).await?;
            let mut own = Wire::connect(first, Ipv4Addr::LOCALHOST).await?;
            own.open("/ws", &actor.token).await?;
            let mut other = Wire::connect(second, Ipv4Addr::LOCALHOST).await?;
            other.open("/ws", &partner.token).await?;
            let wire = Wire::connect(first, Ipv4Addr::LOCALHOST).await?;
            let requests = ["AVAILABLE", "BUSY"].map(|status| change(actor, status));
            path.add(Caller::Http { wire, requests, calls: 0 }, other, Some(own), tasks);
        }
        Ok(path)
    }

    fn add(&mut self, mut caller: Caller, mut partner: Wire, own: Option<Wire>, tasks: &mut JoinSet<()>) {
        let (orders, mut queue) = mpsc::channel(ORDERS_MAX);
        let pending = Arc::new(Mutex::new(VecDeque::<Instant>::new()));
        let (waiting, round, failed) =
            (Arc::clone(&pending), Arc::clone(&self.current), Arc::clone(&self.failed));
        tasks.spawn(async move {
            while let Some(due) = queue.recv().await {
                waiting.lock().push_back(due);
                if let Err(error) = caller.change().await {
                    println!("a change failed: {error:#}");
                    failed.store(true, Ordering::Relaxed);
                    return;
                }
                round.lock().answered.push(due.elapsed());
            }
        });
        let (waiting, round) = (Arc::clone(&pending), Arc::clone(&self.current));
        tasks.spawn(async move {
            while partner.text().await.is_ok() {
                // The couple's changes arrive in the order in which they were made.
                if let Some(due) = waiting.lock().pop_front() {
                    round.lock().arrived.push(due.elapsed());
                }
            }
        });
        if let Some(mut own) = own {
            tasks.spawn(async move { while own.text().await.is_ok() {} });
        }
        self.lanes.push(Lane { orders, pending });
    }

    /// How many changes per second this path takes when each couple makes one after the other.
    async fn closed_loop(&self) -> anyhow::Result<f64> {
        let started = Instant::now();
        let mut made = 0;
        while started.elapsed() < ROUND {
            for lane in &self.lanes {
                if lane.pending.lock().is_empty() && lane.orders.capacity() == ORDERS_MAX {
                    lane.orders.try_send(Instant::now())?;
                    made += 1;
                }
            }
            tokio::task::yield_now().await;
            self.check()?;
        }
        self.finish(made).await?;
        Ok(f64::from(u32::try_from(made)?) / started.elapsed().as_secs_f64())
    }

    /// One round at a fixed rate.
    async fn round(&self, rate: f64) -> anyhow::Result<Round> {
        let count = (rate * ROUND.as_secs_f64()).round();
        let lanes: Vec<_> = self.lanes.iter().map(|lane| lane.orders.clone()).collect();
        // A thread of its own: the runtime's timers are a millisecond wide.
        let pace = tokio::task::spawn_blocking(move || {
            let (started, step, mut made) = (Instant::now(), Duration::from_secs_f64(1.0 / rate), 0);
            while f64::from(made) < count {
                let due = started + step * made;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                lanes[made as usize % lanes.len()].try_send(due)?;
                made += 1;
            }
            anyhow::Ok(made as usize)
        });
        let made = pace.await??;
        self.finish(made).await
    }

    /// Waits until all changes have arrived.
    async fn finish(&self, made: usize) -> anyhow::Result<Round> {
        let deadline = Instant::now() + ARRIVED_WITHIN;
        loop {
            {
                let mut round = self.current.lock();
                if round.arrived.len() >= made && round.answered.len() >= made {
                    return Ok(std::mem::take(&mut round));
                }
                ensure!(
                    Instant::now() < deadline,
                    "{}: {} of {made} changes arrived",
                    self.name,
                    round.arrived.len()
                );
            }
            self.check()?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.failed.load(Ordering::Relaxed), "{}: a change failed", self.name);
        Ok(())
    }

    fn all(&self, times: impl Fn(&Round) -> &Vec<Duration>) -> Vec<f64> {
        let mut all: Vec<f64> =
            self.rounds.iter().flat_map(times).map(|time| time.as_secs_f64() * 1_000.0).collect();
        all.sort_by(f64::total_cmp);
        all
    }
}

/// Who makes the changes of a lane.
enum Caller {
    Http { wire: Wire, requests: [Vec<u8>; 2], calls: usize },
    Raw(Box<floor::Writer>),
}

impl Caller {
    async fn change(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Http { wire, requests, calls } => {
                *calls += 1;
                let head = wire.exchange(&requests[*calls % 2]).await?;
                ensure!(head.starts_with("HTTP/1.1 200"), "answered: {head}");
                Ok(())
            }
            Self::Raw(writer) => writer.change().await,
        }
    }
}

fn change(actor: &Person, status: &str) -> Vec<u8> {
    let body = format!(r#"{{"status":"{status}"}}"#);
    format!(
        "PATCH /status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        actor.token,
        body.len()
    )
    .into_bytes()
}

async fn link(pool: &PgPool, actor: &Person, partner: &Person) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO partners (user_id, partner_id, linked_at) VALUES ($1, $2, now()), ($2, $1, now())",
    )
    .bind(actor.id.0)
    .bind(partner.id.0)
    .execute(pool)
    .await?;
    Ok(())
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length is an index"
    )]
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^52 samples")]
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

fn report(paths: &[Path]) {
    let floor = paths[0].all(|round| &round.arrived);
    let hops = paths[1].all(|round| &round.arrived);
    println!(
        "{:<26}{:>8}{:>9}{:>9}{:>9}{:>9}{:>10}{:>10}{:>12}{:>12}",
        "",
        "changes",
        "p50 ms",
        "p99 ms",
        "p50 / floor",
        "p99 / floor",
        "p50 / hops",
        "p99 / hops",
        "answer p50",
        "answer p99"
    );
    for path in paths {
        let (arrived, answered) = (path.all(|round| &round.arrived), path.all(|round| &round.answered));
        let [p50, p99] = [0.5, 0.99].map(|share| percentile(&arrived, share));
        println!(
            "{:<26}{:>8}{p50:>9.3}{p99:>9.3}{:>10.2}x{:>10.2}x{:>9.2}x{:>9.2}x{:>12.3}{:>12.3}",
            path.name,
            arrived.len(),
            p50 / percentile(&floor, 0.5),
            p99 / percentile(&floor, 0.99),
            p50 / percentile(&hops, 0.5),
            p99 / percentile(&hops, 0.99),
            percentile(&answered, 0.5),
            percentile(&answered, 0.99),
        );
    }
}

/// What the stores have done so far.
struct Work {
    redis: BTreeMap<String, f64>,
    /// Transactions that wrote.
    writes: f64,
}

impl Work {
    async fn now(cluster: &Cluster, pool: &PgPool) -> anyhow::Result<Self> {
        let client = redis::Client::open(cluster.redis.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await?;
        let calls = info.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
        });
        let next: i64 = sqlx::query_scalar("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
            .fetch_one(pool)
            .await?;
        #[expect(clippy::cast_precision_loss, reason = "no run has 2^52 transactions")]
        Ok(Self { redis: calls.collect(), writes: next as f64 })
    }
}

/// What one change makes the stores do, beyond what they do when nothing happens.
async fn costs(path: &Path, rate: f64, cluster: &Cluster, pool: &PgPool) -> anyhow::Result<()> {
    tokio::time::sleep(ROUND).await;
    let before_idle = Work::now(cluster, pool).await?;
    let idle = Instant::now();
    tokio::time::sleep(ROUND).await;
    let before = Work::now(cluster, pool).await?;
    let (idle, busy) = (idle.elapsed(), Instant::now());
    let round = path.round(rate).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = Work::now(cluster, pool).await?;
    let share = busy.elapsed().as_secs_f64() / idle.as_secs_f64();
    let changes = f64::from(u32::try_from(round.arrived.len()).context("a short round")?);
    let per_change =
        |after: f64, before: f64, idle: f64| (after - before - (before - idle) * share) / changes;

    println!("\nPer change, beyond the idle cluster's own work:");
    println!(
        "  Postgres transactions that write: {:.2}",
        per_change(after.writes, before.writes, before_idle.writes)
    );
    for (name, calls) in &after.redis {
        let of = |work: &Work| work.redis.get(name).copied().unwrap_or(0.0);
        let calls = per_change(*calls, of(&before), of(&before_idle));
        if calls > 0.005 {
            println!("  Redis {name}: {calls:.2}");
        }
    }
    Ok(())
}
