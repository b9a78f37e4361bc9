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

use anyhow::ensure;
use fanlight::dev::cluster::{Cluster, ClusterOptions};
use fanlight::dev::people;
use fanlight::dev::state::StateDir;
use parking_lot::Mutex;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

mod cpu;
mod floor;
mod load;
mod stage;

use cpu::cpu_us;
use floor::Floor;
use load::{change, percentile};
use stage::{TOKEN_TTL, Wire, address};

/// As many as a node has connections to Postgres.
const COUPLES: usize = 20;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);
/// Loads, as shares of what Fanlight takes at most.
const SHARES: [f64; 2] = [0.1, 0.5];
/// Changes that may wait for their turn: more than a round has.
const ORDERS_MAX: usize = 65_536;
/// A caller that was silent for longer connects again.
const KEPT_ALIVE: Duration = Duration::from_secs(2);
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

    // Once for the caches, once for the number.
    for path in &paths {
        path.closed_loop().await?;
    }
    let (floor_rate, rate) = (paths[1].closed_loop().await?, paths[2].closed_loop().await?);
    println!(
        "Changes per second with {COUPLES} at once: {floor_rate:.0} the floor with its hops, {rate:.0} Fanlight."
    );
    for share in SHARES {
        let rate = rate * share;
        println!(
            "\nIn turns, {ROUNDS} rounds of {} s each, at {rate:.0} per second; medians of rounds:\n",
            ROUND.as_secs()
        );
        for _ in 0..ROUNDS {
            for path in &mut paths {
                let round = path.round(rate).await?;
                path.rounds.push(round);
            }
        }
        report(&paths);
        for path in &mut paths {
            path.rounds.clear();
        }
    }
    costs(&paths[2], rate * SHARES[1], &cluster, &pool).await?;
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
                Caller::http(floor.publisher, [floor::request(lane), floor::request(lane)])
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
        let people = people::people(cluster, pool, COUPLES * 2, TOKEN_TTL).await?;
        let (actors, partners) = people.split_at(COUPLES);
        people::link(pool, actors, partners).await?;
        for (actor, partner) in actors.iter().zip(partners) {
            let mut own = Wire::connect(first, Ipv4Addr::LOCALHOST).await?;
            own.open("/ws", &actor.token).await?;
            let mut other = Wire::connect(second, Ipv4Addr::LOCALHOST).await?;
            other.open("/ws", &partner.token).await?;
            let requests = ["AVAILABLE", "BUSY"].map(|status| change(actor, status));
            path.add(Caller::http(first, requests), other, Some(own), tasks);
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
        // Servers hang up on callers that were silent for long: these connect again before it counts.
        for lane in &self.lanes {
            lane.orders.try_send(Instant::now())?;
        }
        self.finish(self.lanes.len()).await?;
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

    /// A percentile in ms: the median of its values in the rounds, because on a busy machine a single round says
    /// more about the others on it.
    fn percentile(&self, share: f64, times: impl Fn(&Round) -> &Vec<Duration>) -> f64 {
        let of_round = |round| percentile(times(round).iter().map(Duration::as_secs_f64), share) * 1_000.0;
        percentile(self.rounds.iter().map(of_round), 0.5)
    }
}

/// Who makes the changes of a lane.
enum Caller {
    Http { server: SocketAddr, wire: Option<(Wire, Instant)>, requests: [Vec<u8>; 2], calls: usize },
    Raw(Box<floor::Writer>),
}

impl Caller {
    fn http(server: SocketAddr, requests: [Vec<u8>; 2]) -> Self {
        Self::Http { server, wire: None, requests, calls: 0 }
    }

    async fn change(&mut self) -> anyhow::Result<()> {
        let (server, wire, requests, calls) = match self {
            Self::Raw(writer) => return writer.change().await,
            Self::Http { server, wire, requests, calls } => (*server, wire, requests, calls),
        };
        *calls += 1;
        let mut used = match wire.take() {
            Some((wire, at)) if at.elapsed() < KEPT_ALIVE => wire,
            _ => Wire::connect(server, Ipv4Addr::LOCALHOST).await?,
        };
        let head = used.exchange(&requests[*calls % 2]).await?;
        ensure!(head.starts_with("HTTP/1.1 200"), "answered: {head}");
        *wire = Some((used, Instant::now()));
        Ok(())
    }
}

fn report(paths: &[Path]) {
    println!(
        "{:<26}{:>10}{:>10}{:>16}{:>16}{:>16}{:>16}",
        "", "p50 ms", "p99 ms", "/ floor", "/ floor's hops", "answer p50 ms", "answer p99 ms"
    );
    let arrived = |path: &Path| [0.5, 0.99].map(|share| path.percentile(share, |round| &round.arrived));
    let [floor, hops] = [arrived(&paths[0]), arrived(&paths[1])];
    for path in paths {
        let [p50, p99] = arrived(path);
        let [answer50, answer99] = [0.5, 0.99].map(|share| path.percentile(share, |round| &round.answered));
        println!(
            "{:<26}{p50:>10.2}{p99:>10.2}{:>8.2}{:>7.2}x{:>8.2}{:>7.2}x{answer50:>16.2}{answer99:>16.2}",
            path.name,
            p50 / floor[0],
            p99 / floor[1],
            p50 / hops[0],
            p99 / hops[1],
        );
    }
}

/// What the processes and the stores have done so far, by name.
struct Work(BTreeMap<String, f64>);

impl Work {
    async fn now(cluster: &Cluster, pool: &PgPool) -> anyhow::Result<Self> {
        let client = redis::Client::open(cluster.redis.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await?;
        let calls = info.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((format!("Redis {name}"), rest.split(',').next()?.parse().ok()?))
        });
        let mut work: BTreeMap<String, f64> = calls.collect();
        let next: i64 = sqlx::query_scalar("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
            .fetch_one(pool)
            .await?;
        #[expect(clippy::cast_precision_loss, reason = "no run has 2^52 transactions")]
        work.insert("Postgres transactions that write".to_owned(), next as f64);
        let processes = [
            ("the caller's node", cluster.nodes[0].process.pid()),
            ("the partner's node", cluster.nodes[1].process.pid()),
            ("Redis", cluster.redis.process.pid()),
            ("Postgres", cluster.postgres.process.pid()),
        ];
        for (name, pid) in processes {
            work.insert(format!("µs of CPU in {name}"), cpu_us(pid)?);
        }
        Ok(Self(work))
    }

    fn of(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }
}

/// What one change costs, beyond what goes on when nothing happens.
async fn costs(path: &Path, rate: f64, cluster: &Cluster, pool: &PgPool) -> anyhow::Result<()> {
    tokio::time::sleep(ROUND).await;
    let (idle, before_idle) = (Instant::now(), Work::now(cluster, pool).await?);
    tokio::time::sleep(ROUND).await;
    let (busy, before) = (Instant::now(), Work::now(cluster, pool).await?);
    let mut changes = 0;
    for _ in 0..3 {
        changes += path.round(rate).await?.arrived.len() + path.lanes.len();
    }
    // The last confirmations are written down, too.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = Work::now(cluster, pool).await?;
    let share = busy.elapsed().as_secs_f64() / (busy - idle).as_secs_f64();
    let changes = f64::from(u32::try_from(changes)?);

    println!("\nPer change, beyond the idle cluster's own work:");
    for name in after.0.keys() {
        let in_idle = (before.of(name) - before_idle.of(name)) * share;
        let each = (after.of(name) - before.of(name) - in_idle) / changes;
        if each > 0.005 {
            println!("  {name}: {each:.2}");
        }
    }
    Ok(())
}
