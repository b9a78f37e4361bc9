//! Clients that come back as they should: after a random time that grows from half a second, or as the server says, to
//! another node than the one that failed them, with the last seq they saw.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fanlight::dev::people::Person;
use fanlight::domain::clock::{Clock as _, SystemClock};
use fanlight::domain::random;
use parking_lot::Mutex;
use serde_json::Value;
use sqlx::PgPool;
use tokio::time::sleep;
use uuid::Uuid;

use super::NODES;
use crate::statistics::percentile;
use crate::wire::{Refused, TEXT, Wire};

/// Each has ports for 28,000 connections.
const SOURCES: usize = 8;
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Who is not back by then is lost.
const BACK_WITHIN: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(20);

/// All clients, and what becomes of them.
pub struct Crowd {
    pub servers: Vec<SocketAddr>,
    pub people: Vec<Person>,
    /// The last seq that each has seen.
    seen: Vec<AtomicI64>,
    /// Events that came twice, or before an earlier one.
    disorder: AtomicUsize,
    inside: AtomicUsize,
    /// Handshakes that were answered 503.
    pub put_off: AtomicUsize,
    /// Attempts that found nobody.
    unanswered: AtomicUsize,
    /// Connections that were taken, and ended before they had resumed.
    given_up: AtomicUsize,
    pub absences: Mutex<Vec<Absence>>,
}

/// Somebody's time without a connection.
pub struct Absence {
    pub index: usize,
    pub from: i64,
    pub to: i64,
    back_at: Instant,
}

impl Crowd {
    pub fn new(servers: Vec<SocketAddr>, people: Vec<Person>) -> Self {
        Self {
            servers,
            seen: people.iter().map(|_| AtomicI64::new(0)).collect(),
            people,
            disorder: AtomicUsize::default(),
            inside: AtomicUsize::default(),
            put_off: AtomicUsize::default(),
            unanswered: AtomicUsize::default(),
            given_up: AtomicUsize::default(),
            absences: Mutex::default(),
        }
    }

    pub async fn live(self: Arc<Self>, index: usize) {
        let mut node = index % NODES;
        let mut down_at = None;
        loop {
            let mut wire = self.come_back(index, &mut node).await;
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
            node = another_node(node);
            sleep(random::jitter(BACKOFF_FIRST)).await;
        }
    }

    /// Tries, ever more seldom, until the node answers on the socket.
    async fn come_back(&self, index: usize, node: &mut usize) -> Wire {
        let mut backoff = BACKOFF_FIRST;
        loop {
            let hint = match self.try_once(index, self.servers[*node]).await {
                Ok(wire) => return wire,
                Err(error) => self.put_off(&error),
            };
            backoff = (backoff * 2).min(BACKOFF_MAX);
            sleep(hint.max(random::jitter(backoff))).await;
            *node = another_node(*node);
        }
    }

    async fn try_once(&self, index: usize, server: SocketAddr) -> anyhow::Result<Wire> {
        let source = Ipv4Addr::new(127, 0, 0, u8::try_from(2 + index % SOURCES)?);
        let mut wire = Wire::connect(server, source).await?;
        let path = format!("/ws?deviceId=phone&since={}", self.seen[index].load(Ordering::Relaxed));
        wire.open(&path, &self.people[index].token).await?;
        // The answer comes when the resume is through.
        let resumed = async {
            wire.write(TEXT, br#"{"type":"PING"}"#).await?;
            while self.see(index, &wire.text().await?) {}
            anyhow::Ok(())
        };
        resumed.await.context(GaveUp)?;
        Ok(wire)
    }

    /// Counts a failed attempt, and says how long the server asked to wait.
    fn put_off(&self, error: &anyhow::Error) -> Duration {
        let Some(Refused { head }) = error.downcast_ref() else {
            let counter = if error.is::<GaveUp>() { &self.given_up } else { &self.unanswered };
            counter.fetch_add(1, Ordering::Relaxed);
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

    pub async fn until_all_are_in(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + BACK_WITHIN;
        while self.inside.load(Ordering::Relaxed) < self.people.len() {
            let outside = self.people.len() - self.inside.load(Ordering::Relaxed);
            ensure!(Instant::now() < deadline, "{outside} are outside after {} s", BACK_WITHIN.as_secs());
            sleep(POLL).await;
        }
        Ok(())
    }

    pub async fn until_somebody_is_out(&self) {
        while self.inside.load(Ordering::Relaxed) == self.people.len() {
            sleep(POLL).await;
        }
    }

    /// Waits until everybody has seen everything. Returns how many have not in the end.
    pub async fn until_caught_up(&self, pool: &PgPool) -> anyhow::Result<usize> {
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

    /// When the last of those who were thrown out was back; how many they were.
    pub fn report_returns(&self, killed: Instant) -> (Duration, usize) {
        let absences = self.absences.lock();
        let times = || absences.iter().map(|absence| (absence.back_at - killed).as_secs_f64());
        let [p50, p99, last] = [0.5, 0.99, 1.0].map(|share| percentile(times(), share));
        println!("\nA node is killed: {} connections are lost.", absences.len());
        println!("Back after: p50 {p50:.2} s, p99 {p99:.2} s, the last {last:.2} s.");
        println!(
            "{} handshakes were put off with 503, {} found nobody, {} resumes were given up.",
            self.put_off.load(Ordering::Relaxed),
            self.unanswered.load(Ordering::Relaxed),
            self.given_up.load(Ordering::Relaxed)
        );
        (Duration::from_secs_f64(last), absences.len())
    }

    /// Events that came twice, or before an earlier one.
    pub fn disorder(&self) -> usize {
        self.disorder.load(Ordering::Relaxed)
    }
}

/// The node took a connection, but ended it before it had resumed.
#[derive(Debug, thiserror::Error)]
#[error("the resume did not come to its end")]
struct GaveUp;

fn another_node(node: usize) -> usize {
    (node + 1 + usize::from(u16::from_be_bytes(random::bytes())) % (NODES - 1)) % NODES
}

fn now_ms() -> i64 {
    SystemClock.now().timestamp_millis()
}
