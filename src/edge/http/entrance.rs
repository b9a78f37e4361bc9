//! Who gets a place for the HTTP stage: so many in all, and so many per address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::edge::http::addresses::{AddressCounts, AddressPlace, TrustedProxies};
use crate::edge::http::problem::{ErrorCode, Problem};

/// While all places are taken, how long the next connection waits for one before it is refused.
const PLACE_WAIT: Duration = Duration::from_secs(1);

/// The places for connections in their HTTP stage.
pub struct Entrance {
    permits: Arc<Semaphore>,
    addresses: Arc<AddressCounts>,
    per_address_max: usize,
    /// No place came free in time, and none has since: who comes is refused at once.
    is_full: bool,
}

/// One connection's place; a trusted proxy may hold any number.
pub struct Place {
    _permit: OwnedSemaphorePermit,
    _of_address: Option<AddressPlace>,
}

impl Entrance {
    #[must_use]
    pub fn new(max: usize, per_address_max: usize) -> Self {
        let (permits, addresses) = (Arc::new(Semaphore::new(max)), Arc::default());
        Self { permits, addresses, per_address_max, is_full: false }
    }

    /// A place for the next connection. Cancel-safe.
    pub async fn permit(&mut self) -> Option<OwnedSemaphorePermit> {
        let permits = Arc::clone(&self.permits);
        let permit = if self.is_full {
            permits.try_acquire_owned().ok()
        } else {
            let permit = timeout(PLACE_WAIT, permits.acquire_owned()).await;
            permit.ok().map(|permit| permit.expect("the semaphore is never closed"))
        };
        self.is_full = permit.is_none();
        permit
    }

    /// Gives the connection that came a place.
    ///
    /// # Errors
    /// What it is told when there is none.
    pub fn place(
        &self,
        permit: Option<OwnedSemaphorePermit>,
        peer: IpAddr,
        proxies: &TrustedProxies,
    ) -> Result<Place, Problem> {
        let permit = permit.or_else(|| Arc::clone(&self.permits).try_acquire_owned().ok());
        let Some(permit) = permit else {
            count_refusal("full");
            return Err(Problem::overloaded().detail("All places for new connections are taken"));
        };
        if proxies.trusts(peer) {
            return Ok(Place { _permit: permit, _of_address: None });
        }
        let Some(of_address) = self.addresses.enter(peer, self.per_address_max) else {
            count_refusal("address");
            return Err(Problem::come_back_later(ErrorCode::TooManyConnections));
        };
        Ok(Place { _permit: permit, _of_address: Some(of_address) })
    }
}

fn count_refusal(reason: &'static str) {
    metrics::counter!("fanlight_http_connections_refused_total", "reason" => reason).increment(1);
}
