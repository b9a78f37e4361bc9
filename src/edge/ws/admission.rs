//! Which handshakes become connections: so many at a time, so many at once, so many from one address and a second.
//!
//! A refusal is cheaper than a connection, and is decided before a signature is checked, so that a crowd that
//! comes back, or an attack, cannot take the node from those who are connected. Everybody refused is told
//! when to come back, each another time.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::delivery::budget::Budget;
use crate::edge::http::addresses::{AddressCounts, AddressPlace};
use crate::edge::http::problem::{ErrorCode, Problem};
use crate::edge::ws::Config;
use crate::telemetry::as_gauge;

/// Somebody who should know of a full address is told once in so long.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The door of a node's sockets.
pub struct Door {
    config: Config,
    budget: Arc<Budget>,
    draining: AtomicBool,
    open: AtomicUsize,
    /// Connections that have shown who they are, and have not learnt yet what they missed.
    beginning: AtomicUsize,
    addresses: Arc<AddressCounts>,
    /// Those who have not shown a valid token yet.
    strangers: Arc<AddressCounts>,
    pace: Mutex<TokenBucket>,
    warned_at: Mutex<Option<Instant>>,
}

/// Why a handshake is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The node leaves.
    Draining,
    /// It has as many connections as it may.
    Full,
    /// What waits for its connections, or is half-received from them, takes as much memory as it may.
    Memory,
    /// As many are being let in as may be at once: this node is slower than the crowd.
    Crowd,
    /// Too many came in the last moments.
    Pace,
    /// The address has as many connections as it may.
    Address,
    /// The address has as many connections that have not shown a token as it may.
    Strangers,
}

impl Refusal {
    /// For the metric.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Full => "full",
            Self::Memory => "memory",
            Self::Crowd => "crowd",
            Self::Pace => "pace",
            Self::Address => "address",
            Self::Strangers => "strangers",
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Address | Refusal::Strangers => Self::come_back_later(ErrorCode::TooManyConnections),
            Refusal::Draining | Refusal::Full | Refusal::Memory | Refusal::Crowd | Refusal::Pace => {
                Self::overloaded()
            }
        }
    }
}

impl Door {
    #[must_use]
    pub fn new(config: &Config, budget: Arc<Budget>) -> Arc<Self> {
        metrics::gauge!("fanlight_connections_max").set(as_gauge(config.connections_max));
        let pace = TokenBucket::new(config.handshakes_per_second, config.handshakes_burst, Instant::now());
        Arc::new(Self {
            config: config.clone(),
            budget,
            draining: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            beginning: AtomicUsize::new(0),
            addresses: Arc::default(),
            strangers: Arc::default(),
            pace: Mutex::new(pace),
            warned_at: Mutex::default(),
        })
    }

    /// How many connections are open, in whatever stage.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// From now on nobody comes in.
    pub fn close(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Holds a place for one more connection, of somebody who is a stranger until [`Admission::know`].
    ///
    /// # Errors
    /// Why there is none.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Admission, Refusal> {
        if self.is_closed() {
            return Err(Refusal::Draining);
        }
        if self.budget.is_exhausted() {
            return Err(Refusal::Memory);
        }
        let place = Slot::take(self, Count::Open).ok_or(Refusal::Full)?;
        let beginning = Slot::take(self, Count::Beginning).ok_or(Refusal::Crowd)?;
        let of_address = self.addresses.enter(address, self.config.connections_per_address_max);
        let of_address = of_address.ok_or_else(|| self.refuse_address(address, Refusal::Address))?;
        // Last: who is refused for another reason does not slow down the others.
        if !self.pace.lock().take(Instant::now()) {
            return Err(Refusal::Pace);
        }
        let beginning = Some(beginning);
        Ok(Admission { _place: place, _of_address: of_address, beginning, stranger: None, address })
    }

    /// A load balancer that is not in `server.trusted_proxies` looks like one client with all connections.
    fn refuse_address(&self, address: IpAddr, refusal: Refusal) -> Refusal {
        let mut warned_at = self.warned_at.lock();
        if warned_at.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            *warned_at = Some(Instant::now());
            tracing::warn!(
                client.address = %address,
                "an address has as many connections as it may; is it a proxy that server.trusted_proxies lacks?"
            );
        }
        refusal
    }
}

/// A connection's right to be there, until it is dropped.
pub struct Admission {
    _place: Slot,
    _of_address: AddressPlace,
    beginning: Option<Slot>,
    stranger: Option<AddressPlace>,
    address: IpAddr,
}

impl Admission {
    /// Counts the connection among those that have not shown a token. Those are in no hurry, and so do not count
    /// among those that begin: a few of them would keep everybody out.
    ///
    /// # Errors
    /// When its address has as many of them as it may.
    pub fn distrust(mut self, door: &Door) -> Result<Self, Refusal> {
        let place = door.strangers.enter(self.address, door.config.unauthenticated_per_address_max);
        let place = place.ok_or_else(|| door.refuse_address(self.address, Refusal::Strangers))?;
        self.stranger = Some(place);
        self.beginning = None;
        Ok(self)
    }

    /// What the connection holds until it has begun: drop it then.
    pub fn take_beginning(&mut self) -> Option<Slot> {
        self.beginning.take()
    }

    /// The client has shown who it is.
    pub fn know(&mut self) {
        self.stranger = None;
    }
}

/// What the node has a bounded number of.
#[derive(Clone, Copy)]
enum Count {
    Open,
    Beginning,
}

/// One of them.
pub struct Slot {
    door: Arc<Door>,
    count: Count,
}

impl Slot {
    fn take(door: &Arc<Door>, count: Count) -> Option<Self> {
        let place = Self { door: Arc::clone(door), count };
        let max = match count {
            Count::Open => door.config.connections_max,
            Count::Beginning => door.config.beginning_max,
        };
        // Dropping the place gives it back.
        (place.taken().fetch_add(1, Ordering::Relaxed) < max).then_some(place)
    }

    fn taken(&self) -> &AtomicUsize {
        match self.count {
            Count::Open => &self.door.open,
            Count::Beginning => &self.door.beginning,
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.taken().fetch_sub(1, Ordering::Relaxed);
    }
}

/// Refills with time, and holds at most a burst.
struct TokenBucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled_at: Instant,
}

impl TokenBucket {
    fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let (per_second, burst) = (f64::from(per_second), f64::from(burst));
        Self { per_second, burst, tokens: burst, filled_at: now }
    }

    /// Takes a token, if there is one.
    fn take(&mut self, now: Instant) -> bool {
        let refill = now.duration_since(self.filled_at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + refill).min(self.burst);
        self.filled_at = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10, 3, start);
        let mut taken = |after_ms| bucket.take(start + Duration::from_millis(after_ms));
        assert_eq!([0, 0, 0, 0].map(&mut taken), [true, true, true, false]);
        assert_eq!([99, 100, 100, 199, 201].map(&mut taken), [false, true, false, false, true]);
        // However long nobody comes, no more than a burst is saved.
        assert_eq!([9_000, 9_000, 9_000, 9_000].map(&mut taken), [true, true, true, false]);
    }
}
