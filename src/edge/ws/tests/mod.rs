//! The socket over real TCP: a whole edge on a real Postgres, with presence and broker in memory.
//!
//! Clients speak raw bytes where a library would refuse to, and `tungstenite` where a strict peer is wanted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::config::DEFAULT_TOML;
use crate::delivery::budget::Budget;
use crate::delivery::device_tokens::NoDevices;
use crate::delivery::fallback::Fallback;
use crate::delivery::membership::{Listeners, Membership};
use crate::delivery::registry::Registry;
use crate::delivery::settlement::Settlement;
use crate::dev::testing;
use crate::domain::clock::{Clock as _, SharedClock, SystemClock};
use crate::domain::ids::{NodeId, SessionId, UserId};
use crate::domain::tokens::{KeyAlgorithm, KeyRing};
use crate::edge::auth::{AllowedOrigins, Authenticator};
use crate::edge::http::addresses::TrustedProxies;
use crate::edge::http::layers;
use crate::edge::http::server::{self, Server};
use crate::edge::ws::{self, Parts, Sockets};
use crate::ports::broker::{MemoryBroker, MemoryBus};
use crate::ports::presence::MemoryPresence;
use crate::ports::push::DisabledPush;
use crate::shutdown::Shutdown;

mod admission;
mod authentication;
mod documented;
mod draining;
mod frames;
mod half_open;
mod half_sent;
mod handshake;
mod limits;
mod peer;
mod resuming;

const PATIENCE: Duration = Duration::from_secs(20);
const MESSAGE_BYTES_MAX: usize = 1_000;
const FRAGMENTS_MAX: usize = 8;
const BURST: u32 = 30;
const ALLOWED_ORIGIN: &str = "https://app.example";

pub struct World {
    pub address: SocketAddr,
    pub sockets: Arc<Sockets>,
    keys: KeyRing,
    shutdown: Shutdown,
}

#[derive(Deserialize)]
struct Settings {
    server: server::Config,
    sockets: ws::Config,
    delivery: crate::delivery::Config,
}

fn key_ring() -> KeyRing {
    let secret = "a secret that is long enough for HS256".to_owned();
    KeyRing::new([("k".to_owned(), KeyAlgorithm::HS256, secret)], "i".into(), "a".into()).unwrap()
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut ws::Config)) -> Self {
        Self::served(change, |_| {}).await
    }

    pub async fn served(
        change: impl FnOnce(&mut ws::Config),
        change_server: impl FnOnce(&mut Server),
    ) -> Self {
        let Settings { server: mut http, mut sockets, delivery } = toml::from_str(DEFAULT_TOML).unwrap();
        sockets.message_bytes_max = MESSAGE_BYTES_MAX;
        sockets.fragments_max = FRAGMENTS_MAX;
        sockets.messages_per_second = 1;
        sockets.messages_burst = BURST;
        change(&mut sockets);
        http.allowed_origins = vec![ALLOWED_ORIGIN.to_owned()];

        let (shutdown, node) = (Shutdown::new(), NodeId::generate());
        let clock: SharedClock = Arc::new(SystemClock);
        let origins = AllowedOrigins::new(&http.allowed_origins);
        let authenticator = Arc::new(Authenticator::new(Arc::new(key_ring()), Arc::clone(&clock), origins));
        let sockets = sockets_of(node, sockets, delivery, &authenticator, clock, &shutdown).await;
        let router =
            layers::wrap(ws::routes(Arc::clone(&sockets)), axum::Router::new(), authenticator, &http);
        let listener = server::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = Server {
            listener,
            router,
            proxies: TrustedProxies::default(),
            header_timeout: PATIENCE,
            connections_max: 100,
            connections_per_address_max: 100,
        };
        change_server(&mut server);
        shutdown.spawn("test.server", server.run(shutdown.clone()));
        Self { address, sockets, keys: key_ring(), shutdown }
    }

    pub fn token(&self) -> String {
        self.token_of(UserId::generate(), SessionId::generate(), Duration::from_mins(15))
    }

    pub fn token_of(&self, user: UserId, session: SessionId, ttl: Duration) -> String {
        self.keys.mint(user, session, SystemClock.now(), ttl)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

async fn sockets_of(
    node: NodeId,
    config: ws::Config,
    delivery: crate::delivery::Config,
    authenticator: &Arc<Authenticator>,
    clock: SharedClock,
    shutdown: &Shutdown,
) -> Arc<Sockets> {
    let pool = testing::database().await;
    let registry = Arc::new(Registry::default());
    let presence = Arc::new(MemoryPresence::default());
    let broker = Arc::new(MemoryBroker::new(Arc::<MemoryBus>::default(), Arc::clone(&presence), node));
    let fallback =
        Fallback::start(pool.clone(), &delivery, Arc::new(NoDevices), Arc::new(DisabledPush), shutdown);
    let membership = Membership::new(node, Arc::clone(&registry), presence, broker, Arc::default(), fallback);
    membership.start(Listeners::none(), shutdown);
    Sockets::new(Parts {
        node,
        budget: Budget::new(config.memory_bytes_max),
        config,
        settlement: Settlement::new(delivery.settled_by),
        replay: ws::Replay::new(pool, &Arc::default(), &delivery),
        handlers: Vec::new(),
        authenticator: Arc::clone(authenticator),
        registry,
        membership,
        clock,
        shutdown: shutdown.clone(),
    })
}
