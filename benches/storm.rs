//! What becomes of 10,000 clients on three nodes when one node is killed: how soon all of them are back, what that
//! does to the requests of others, and whether anybody misses an event or is woken for nothing.
//!
//! Clients come back as they should: after a random time that grows from half a second, or as the server says, to
//! any node, with the last seq they saw. Meanwhile couples change their lights on the nodes that live, at fixed
//! times: each request's time counts from when it was due.
//!
//! `cargo bench --bench storm` (needs `ulimit -n` of 12,000 or more)

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fanlight::dev::cluster::{Cluster, ClusterOptions};
use fanlight::dev::people::{self, Person};
use fanlight::dev::process::Signal;
use fanlight::domain::clock::{Clock as _, SystemClock};
use fanlight::domain::random;
use parking_lot::Mutex;
use serde_json::Value;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};
use uuid::Uuid;

mod load;
mod stage;

use load::{change, percentile};
use stage::{Refused, TEXT, TOKEN_TTL, Wire, address};

const SOCKETS: usize = 10_000;
const NODES: usize = 3;
/// Each has ports for 28,000 connections.
const SOURCES: usize = 8;
const CHANGES_PER_SECOND: f64 = 50.0;
/// Callers, each with a connection that is kept alive.
const LANES: usize = 16;
const CALM: Duration = Duration::from_secs(10);
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Who is not back by then is lost.
const BACK_WITHIN: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(20);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mut cluster = Cluster::start(ClusterOptions::scratch(env!("CARGO_BIN_EXE_fanlight"))).await?;
    let pool = PgPool::connect(&cluster.postgres_url()).await?;
    let people = Arc::new(couples(&cluster, &pool).await?);
    let servers = cluster.nodes.iter().map(|node| address(&node.http())).collect::<Result<_, _>>()?;
    let crowd = Arc::new(Crowd::new(servers, people));
    let mut tasks = JoinSet::new();

    let opening = Instant::now();
    for index in 0..SOCKETS {
        tasks.spawn(Arc::clone(&crowd).live(index));
    }
    crowd.until_all_are_in().await?;
    let opened = opening.elapsed();
    println!(
        "{SOCKETS} sockets on {NODES} nodes, opened in {:.1} s ({:.0} per second); {} handshakes were put off.",
        opened.as_secs_f64(),
        count(SOCKETS) / opened.as_secs_f64(),
        crowd.put_off.swap(0, Ordering::Relaxed)
    );

    let calls = Arc::new(Calls::default());
    for lane in 0..LANES {
        tasks.spawn(Arc::clone(&calls).make(lane, Arc::clone(&crowd)));
    }
    sleep(CALM).await;
    let killed = Instant::now();
    cluster.nodes[NODES - 1].process.signal(Signal::Kill)?;
    crowd.until_somebody_is_out().await;
    crowd.until_all_are_in().await?;
    let back = Instant::now();
    sleep(CALM).await;
    calls.stop.store(true, Ordering::Relaxed);

    crowd.report_returns(killed);
    calls.report(&[
        ("before", None, killed),
        ("storm", Some(killed), back),
        ("after", Some(back), Instant::now()),
    ]);
    let caught_up = crowd.until_caught_up(&pool).await?;
    crowd.report_events(&pool, caught_up).await?;
    report_pushes(&cluster, &pool, &crowd).await?;
    drop(tasks);
    cluster.stop().await;
    Ok(())
}

/// Two halves that are linked, everybody with a phone whose token names its owner.
async fn couples(cluster: &Cluster, pool: &PgPool) -> anyhow::Result<Vec<Person>> {
    let people = people::people(cluster, pool, SOCKETS, TOKEN_TTL).await?;
    let (actors, partners) = people.split_at(SOCKETS / 2);
    people::link(pool, actors, partners).await?;
    sqlx::query(
        "INSERT INTO device_tokens
            (id, user_id, device_id, fcm_token, platform, created_at, updated_at, last_registered_at)
         SELECT gen_random_uuid(), id, 'phone', id::text, 'android', now(), now(), now() FROM users",
    )
    .execute(pool)
    .await?;
    sqlx::query("ANALYZE").execute(pool).await?;
    Ok(people)
}

/// All clients, and what becomes of them.
struct Crowd {
    servers: Vec<SocketAddr>,
    people: Arc<Vec<Person>>,
    /// The last seq that each has seen.
    seen: Vec<AtomicI64>,
    /// Events that came twice, or before an earlier one.
    disorder: AtomicUsize,
    inside: AtomicUsize,
    /// Handshakes that were answered 503.
    put_off: AtomicUsize,
    /// Connections that no node took.
    unanswered: AtomicUsize,
    absences: Mutex<Vec<Absence>>,
}

/// Somebody's time without a connection.
struct Absence {
    index: usize,
    from: i64,
    to: i64,
    back_at: Instant,
}

impl Crowd {
    fn new(servers: Vec<SocketAddr>, people: Arc<Vec<Person>>) -> Self {
        Self {
            servers,
            seen: people.iter().map(|_| AtomicI64::new(0)).collect(),
            people,
            disorder: AtomicUsize::default(),
            inside: AtomicUsize::default(),
            put_off: AtomicUsize::default(),
            unanswered: AtomicUsize::default(),
            absences: Mutex::default(),
        }
    }

    async fn live(self: Arc<Self>, index: usize) {
        let mut node = index % NODES;
        let mut down_at = None;
        loop {
            let mut wire = self.come_back(index, node).await;
            if let Some(from) = down_at {
                let absence = Absence { index, from, to: now_ms(), back_at: Instant::now() };
                self.absences.lock().push(absence);
            }
            self.inside.fetch_add(1, Ordering::Relaxed);
            while let Ok(text) = wire.text().await {
                self.see(index, &text);
            }
            self.inside.fetch_sub(1, Ordering::Relaxed);
            down_at = Some(now_ms());
            node = any_node();
            sleep(random::jitter(BACKOFF_FIRST)).await;
        }
    }

    /// Tries, ever more seldom, until the node answers on the socket.
    async fn come_back(&self, index: usize, mut node: usize) -> Wire {
        let mut backoff = BACKOFF_FIRST;
        loop {
            let hint = match self.try_once(index, self.servers[node]).await {
                Ok(wire) => return wire,
                Err(error) => self.put_off(&error),
            };
            backoff = (backoff * 2).min(BACKOFF_MAX);
            sleep(hint.max(random::jitter(backoff))).await;
            node = any_node();
        }
    }

    async fn try_once(&self, index: usize, server: SocketAddr) -> anyhow::Result<Wire> {
        let source = Ipv4Addr::new(127, 0, 0, u8::try_from(2 + index % SOURCES)?);
        let mut wire = Wire::connect(server, source).await?;
        let path = format!("/ws?deviceId=phone&since={}", self.seen[index].load(Ordering::Relaxed));
        wire.open(&path, &self.people[index].token).await?;
        // The answer comes when the resume is through.
        wire.write(TEXT, br#"{"type":"PING"}"#).await?;
        while self.see(index, &wire.text().await?) {}
        Ok(wire)
    }

    /// Counts a failed attempt, and says how long the server asked to wait.
    fn put_off(&self, error: &anyhow::Error) -> Duration {
        let Some(Refused { head }) = error.downcast_ref() else {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
            return Duration::ZERO;
        };
        self.put_off.fetch_add(1, Ordering::Relaxed);
        let after = head.lines().find_map(|line| line.strip_prefix("retry-after: ")?.parse().ok());
        Duration::from_secs(after.unwrap_or_default())
    }

    /// Notes an event; returns whether it was one.
    fn see(&self, index: usize, text: &[u8]) -> bool {
        let frame: Value = serde_json::from_slice(text).unwrap_or_default();
        let Some(seq) = frame["seq"].as_i64() else { return false };
        let last = self.seen[index].swap(seq, Ordering::Relaxed);
        if seq != last + 1 {
            self.disorder.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    async fn until_all_are_in(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + BACK_WITHIN;
        while self.inside.load(Ordering::Relaxed) < SOCKETS {
            let outside = SOCKETS - self.inside.load(Ordering::Relaxed);
            ensure!(Instant::now() < deadline, "{outside} are outside after {} s", BACK_WITHIN.as_secs());
            sleep(POLL).await;
        }
        Ok(())
    }

    async fn until_somebody_is_out(&self) {
        while self.inside.load(Ordering::Relaxed) == SOCKETS {
            sleep(POLL).await;
        }
    }

    /// Waits until everybody has seen everything. Returns how many have not in the end.
    async fn until_caught_up(&self, pool: &PgPool) -> anyhow::Result<usize> {
        let last: HashMap<Uuid, i64> = sqlx::query_as("SELECT user_id, last_seq FROM inboxes")
            .fetch_all(pool)
            .await?
            .into_iter()
            .collect();
        let behind = || {
            let seen = self.seen.iter().map(|seen| seen.load(Ordering::Relaxed));
            let people = self.people.iter().map(|person| last.get(&person.id.0).copied().unwrap_or(0));
            seen.zip(people).filter(|(seen, last)| seen != last).count()
        };
        let deadline = Instant::now() + BACK_WITHIN;
        while behind() > 0 && Instant::now() < deadline {
            sleep(POLL).await;
        }
        Ok(behind())
    }

    fn report_returns(&self, killed: Instant) {
        let absences = self.absences.lock();
        let times = || absences.iter().map(|absence| (absence.back_at - killed).as_secs_f64());
        println!(
            "\nA node is killed: {} connections are lost.\n\n{:<34}{:>10}{:>10}{:>10}",
            absences.len(),
            "",
            "p50 s",
            "p99 s",
            "last s"
        );
        println!(
            "{:<34}{:>10.2}{:>10.2}{:>10.2}",
            "back after",
            percentile(times(), 0.5),
            percentile(times(), 0.99),
            percentile(times(), 1.0)
        );
        println!(
            "{} handshakes were put off with 503, {} found nobody.",
            self.put_off.load(Ordering::Relaxed),
            self.unanswered.load(Ordering::Relaxed)
        );
    }

    async fn report_events(&self, pool: &PgPool, behind: usize) -> anyhow::Result<()> {
        let events: i64 = sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(pool).await?;
        println!(
            "\n{events} events: {behind} clients lack one, {} came twice or out of order.",
            self.disorder.load(Ordering::Relaxed)
        );
        Ok(())
    }
}

/// The requests of the whole run.
#[derive(Default)]
struct Calls {
    stop: AtomicBool,
    failed: AtomicUsize,
    /// When each was due, and how long after that it was answered.
    answered: Mutex<Vec<(Instant, Duration)>>,
}

impl Calls {
    async fn make(self: Arc<Self>, lane: usize, crowd: Arc<Crowd>) {
        let server = crowd.servers[lane % (NODES - 1)];
        let started = Instant::now();
        let mut wire = None;
        for turn in 0_u32.. {
            let position = f64::from(turn) * count(LANES) + count(lane);
            let due = started + Duration::from_secs_f64(position / CHANGES_PER_SECOND);
            sleep_until(due.into()).await;
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            // Coprime to their number, so that actors on all nodes take turns.
            let actor = (lane + turn as usize * 4_999) % (SOCKETS / 2);
            let request = change(&crowd.people[actor], ["BUSY", "AVAILABLE"][turn as usize % 2]);
            match call(server, wire.take(), &request).await {
                Ok(used) => {
                    self.answered.lock().push((due, due.elapsed()));
                    wire = Some(used);
                }
                Err(_) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// By phase: its name, begin and end.
    fn report(&self, phases: &[(&str, Option<Instant>, Instant)]) {
        let answered = self.answered.lock();
        println!(
            "\n{:<34}{:>10}{:>10}{:>10}{:>10}",
            "PATCH /status", "requests", "p50 ms", "p99 ms", "max ms"
        );
        for (name, from, to) in phases {
            let times = || {
                let within = |due: Instant| from.is_none_or(|from| due >= from) && due < *to;
                let inside = answered.iter().filter(move |(due, _)| within(*due));
                inside.map(|(_, time)| time.as_secs_f64() * 1_000.0)
            };
            println!(
                "{name:<34}{:>10}{:>10.1}{:>10.1}{:>10.1}",
                times().count(),
                percentile(times(), 0.5),
                percentile(times(), 0.99),
                percentile(times(), 1.0)
            );
        }
        println!("{} requests failed.", self.failed.load(Ordering::Relaxed));
    }
}

async fn call(server: SocketAddr, wire: Option<Wire>, request: &[u8]) -> anyhow::Result<Wire> {
    let mut wire = match wire {
        Some(wire) => wire,
        None => Wire::connect(server, Ipv4Addr::LOCALHOST).await?,
    };
    let head = wire.exchange(request).await?;
    ensure!(head.starts_with("HTTP/1.1 200"), "answered: {head}");
    Ok(wire)
}

/// A push is false if its receiver had a connection from the commit until the push.
async fn report_pushes(cluster: &Cluster, pool: &PgPool, crowd: &Crowd) -> anyhow::Result<()> {
    let committed: HashMap<String, i64> =
        sqlx::query_as("SELECT id::text, (EXTRACT(EPOCH FROM created_at) * 1000)::bigint FROM events")
            .fetch_all(pool)
            .await?
            .into_iter()
            .collect();
    let mut absences: HashMap<String, Vec<(i64, i64)>> = HashMap::new();
    for absence in crowd.absences.lock().iter() {
        let owner = crowd.people[absence.index].id.0.to_string();
        absences.entry(owner).or_default().push((absence.from, absence.to));
    }
    let (mut right, mut wrong) = (0, 0);
    for push in cluster.fcm.log() {
        let event = push.message["data"]["eventId"].as_str().context("a push names its event")?;
        let at = committed.get(event).context("a push is of an event")?;
        let was_away = |(from, to): &(i64, i64)| *from <= push.at && to >= at;
        let away = absences.get(&push.token).is_some_and(|spans| spans.iter().any(was_away));
        *(if away { &mut right } else { &mut wrong }) += 1;
    }
    println!("{right} pushes to somebody who was away, {wrong} to somebody who was there.");
    Ok(())
}

fn any_node() -> usize {
    usize::from(u16::from_be_bytes(random::bytes())) % NODES
}

fn now_ms() -> i64 {
    SystemClock.now().timestamp_millis()
}

#[expect(clippy::cast_precision_loss, reason = "tens of thousands")]
fn count(number: usize) -> f64 {
    number as f64
}
