//! A way from one phone to the other, and couples whose changes take it.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use fanlight::dev::cluster::Cluster;
use fanlight::dev::people;
use parking_lot::Mutex;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::COUPLES;
use crate::floors;
use crate::floors::change::{Floor, Writer, Writes};
use crate::statistics::{Spread, count, percentile};
use crate::wire::{TOKEN_TTL, Wire, change};

/// Changes that may wait for their turn: more than a round has.
const ORDERS_MAX: usize = 65_536;
/// A caller that was silent for longer connects again.
const KEPT_ALIVE: Duration = Duration::from_secs(2);
const ARRIVED_WITHIN: Duration = Duration::from_secs(20);

/// The times of a round: until the partner saw the change, and until the caller was answered.
#[derive(Clone, Debug, Default)]
pub struct Round {
    pub arrived: Vec<Duration>,
    pub answered: Vec<Duration>,
}

/// One couple on one path.
struct Lane {
    orders: mpsc::Sender<Instant>,
    /// When the changes that have not arrived were due.
    pending: Arc<Mutex<VecDeque<Instant>>>,
}

/// A way from one phone to the other.
pub struct Path {
    pub name: &'static str,
    lanes: Vec<Lane>,
    current: Arc<Mutex<Round>>,
    failed: Arc<AtomicBool>,
    pub rounds: Vec<Round>,
}

impl Path {
    fn new(name: &'static str) -> Self {
        Self { name, lanes: Vec::new(), current: Arc::default(), failed: Arc::default(), rounds: Vec::new() }
    }

    /// Without hops there is one process.
    pub async fn over_floor(
        name: &'static str,
        floor: &Floor,
        hops: bool,
        writes: Writes,
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<Self> {
        let mut path = Self::new(name);
        for lane in writes.lanes() {
            let caller = if hops {
                Caller::http(floor.publisher.address, [(); 2].map(|()| floors::change::request(lane)))
            } else {
                Caller::Raw(Box::new(floor.writer(lane).await?))
            };
            let server = if hops { floor.subscriber.address } else { floor.own_subscriber };
            let mut partner = Wire::connect(server, Ipv4Addr::LOCALHOST).await?;
            partner.open(&format!("/{lane}"), "").await?;
            path.add(caller, partner, None, tasks);
        }
        Ok(path)
    }

    /// Each couple's first calls at one address, where it also has a socket; the other's socket is at the other.
    pub async fn over_cluster(
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
    pub async fn closed_loop(&self, length: Duration) -> anyhow::Result<f64> {
        let started = Instant::now();
        let mut made = 0;
        while started.elapsed() < length {
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
        Ok(count(made) / started.elapsed().as_secs_f64())
    }

    /// One round at a fixed rate. Each lane makes one change before it.
    pub async fn round(&self, rate: f64, length: Duration) -> anyhow::Result<Round> {
        // Servers hang up on callers that were silent for long: these connect again before it counts.
        for lane in &self.lanes {
            lane.orders.try_send(Instant::now())?;
        }
        self.finish(self.lanes.len()).await?;
        let count = (rate * length.as_secs_f64()).round();
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

    /// A percentile, in ms, of each round.
    pub fn percentile(&self, share: f64, times: impl Fn(&Round) -> &Vec<Duration>) -> Spread {
        let of_round = |round| percentile(times(round).iter().map(Duration::as_secs_f64), share) * 1_000.0;
        Spread::of(self.rounds.iter().map(of_round))
    }
}

/// Who makes the changes of a lane.
enum Caller {
    Http { server: SocketAddr, wire: Option<(Wire, Instant)>, requests: [Vec<u8>; 2], calls: usize },
    Raw(Box<Writer>),
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
