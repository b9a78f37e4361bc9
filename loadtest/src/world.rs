//! What everybody in a run shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use fanlight::domain::clock::{Clock as _, SystemClock};
use fanlight::shutdown::Shutdown;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::chat::room::Room;
use crate::couple::Couple;
use crate::options::Options;
use crate::roster::Roster;
use crate::tally::Tally;

/// Changes and messages on their way; one more is not sent, and that fails the run.
const IN_FLIGHT_MAX: usize = 2_048;
/// Shorter than the load balancer waits for the next request: it must not hang up on one that is on its way.
const IDLE_MAX: Duration = Duration::from_secs(5);
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

pub struct World {
    /// Tells the accounts of this run from those of others.
    pub run: i64,
    /// Where the load balancer is, without a slash at the end.
    pub url: String,
    /// For all requests: those on schedule are ours, the others goose's.
    pub http: reqwest::Client,
    pub tally: Tally,
    pub roster: Roster,
    /// How often a couple changes a light, and something is said in a room.
    pub pace: Duration,
    /// How often the storm breaks.
    pub storm_every: Duration,
    /// How long after the last change all may take to arrive.
    pub settled_within: Duration,
    pub began: Instant,
    pub in_flight: Arc<Semaphore>,
    /// Phones, schedules and requests.
    pub tasks: Shutdown,
    pub couples: Mutex<Vec<Arc<Couple>>>,
    pub rooms: Mutex<Vec<Arc<Room>>>,
    pub rooms_begun: AtomicUsize,
    /// Also the pairs who link and part.
    pub couples_begun: AtomicU64,
    /// Users whose phones are all connected.
    pub users_begun: AtomicUsize,
}

impl World {
    pub fn new(url: String, roster: Roster, options: &Options) -> anyhow::Result<Self> {
        Ok(Self {
            run: SystemClock.now().timestamp_millis(),
            url,
            http: reqwest::Client::builder()
                .timeout(ANSWERED_WITHIN)
                .pool_idle_timeout(IDLE_MAX)
                .no_proxy()
                .build()?,
            tally: Tally::default(),
            roster,
            pace: Duration::from_millis(options.pace_ms),
            storm_every: Duration::from_secs(options.storm_every),
            settled_within: Duration::from_secs(options.settled_within),
            began: Instant::now(),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            tasks: Shutdown::new(),
            couples: Mutex::default(),
            rooms: Mutex::default(),
            rooms_begun: AtomicUsize::new(0),
            couples_begun: AtomicU64::new(0),
            users_begun: AtomicUsize::new(0),
        })
    }
}
