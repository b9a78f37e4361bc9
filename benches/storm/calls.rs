//! Couples that change their lights meanwhile, at fixed times: each request's time counts from when it was due.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use parking_lot::Mutex;
use tokio::time::sleep_until;

use super::crowd::Crowd;
use super::{CHANGES_PER_SECOND, LANES, NODES};
use crate::statistics::{count, percentile};
use crate::wire::{Wire, change};

/// The requests of the whole run.
#[derive(Default)]
pub struct Calls {
    pub stop: AtomicBool,
    failed: AtomicUsize,
    /// When each was due, and how long after that it was answered.
    answered: Mutex<Vec<(Instant, Duration)>>,
}

impl Calls {
    pub async fn make(self: Arc<Self>, lane: usize, crowd: Arc<Crowd>) {
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
            let actor = (lane + turn as usize * 4_999) % (crowd.people.len() / 2);
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
    pub fn report(&self, phases: &[(&str, Option<Instant>, Instant)]) {
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
