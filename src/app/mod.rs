//! One node: every part, put together, started and stopped in order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::config::Config;
use crate::db::{self, Pools};
use crate::delivery::budget::Budget;
use crate::delivery::membership::{Control, ControlListener, Listeners, Membership};
use crate::delivery::registry::Registry;
use crate::delivery::settlement::Settlement;
use crate::delivery::takeover;
use crate::documents;
use crate::domain::clock::{SharedClock, SystemClock};
use crate::domain::ids::NodeId;
use crate::edge::auth::{AllowedOrigins, Authenticator};
use crate::edge::http::addresses::TrustedProxies;
use crate::edge::http::layers;
use crate::edge::http::server::{self, Server};
use crate::edge::ops::{self, Health};
use crate::edge::ws::{self, Sockets};
use crate::features::accounts::{self, SessionRevoked};
use crate::features::presence;
use crate::ports::redis::RedisLink;
use crate::ports::throttle::{FallbackThrottle, MemoryThrottle, RedisThrottle, Throttle};
use crate::shutdown::Shutdown;
use crate::telemetry::traces::{self, Traces};

mod attention;
mod delivery;
mod features;

use delivery::Delivery;
use features::{Features, Started};

const METRICS_CONNECTIONS_MAX: usize = 64;
const CONTROL_QUEUE_MAX: usize = 1_024;

/// A node that runs.
pub struct App {
    config: Config,
    pools: Pools,
    health: Arc<Health>,
    sockets: Arc<Sockets>,
    settlement: Settlement,
    traces: Option<Traces>,
    /// Stops first: nobody new comes in.
    accepting: Shutdown,
    /// Stops last: what is on its way is still delivered and written down.
    working: Shutdown,
}

impl App {
    /// Starts all parts. The node takes connections when this returns.
    ///
    /// # Errors
    /// One sentence: a setting that is wrong, an address that is taken, a schema that does not fit.
    pub fn start(config: Config, metrics: PrometheusHandle, working: Shutdown) -> anyhow::Result<Self> {
        let accepting = Shutdown::new();
        let clock: SharedClock = Arc::new(SystemClock);
        let node = NodeId::generate();
        let traces = traces::start(&config.telemetry, node)?;
        let database = Arc::new(db::Watch::default());
        let pools = Pools::open(&config.postgres, &database).context("postgres.url")?;
        let link = RedisLink::new(config.redis.clone()).context("redis.url")?;
        let keys = Arc::new(config.auth.key_ring()?);
        let origins = AllowedOrigins::new(&config.server.allowed_origins);
        let authenticator = Arc::new(Authenticator::new(Arc::clone(&keys), Arc::clone(&clock), origins));

        follow_redis(&link, &working);
        let parts = Delivery::start(&config, (&pools, &database), &link, node, &clock, &working)?;
        let revoke = revoke_here(&config, &authenticator, &parts.registry, &clock);
        let presence = parts.start_presence(&config, node, &pools, &link, &working);
        let listener =
            on_control(&parts.registry, Arc::clone(&revoke), Arc::clone(&database), Arc::clone(&presence));
        let rooms = parts.start_rooms(&config, node, &pools, &working);
        parts.membership.start(Listeners { control: listener, topics: rooms.listener() }, &working);
        let (membership, registry) = (Arc::clone(&parts.membership), Arc::clone(&parts.registry));
        let takeovers =
            takeover::watch(Arc::clone(&database), membership, registry, rooms.clone(), working.clone());
        working.spawn("delivery.takeover", takeovers);

        let throttle = throttle(&config, &link, &clock);
        let features = Features {
            config: &config,
            pools: &pools,
            clock: &clock,
            throttle,
            dispatcher: &parts.dispatcher,
            rooms: &rooms,
            presence: &presence,
            working: &working,
        };
        let Started { routes, unhurried, handlers } =
            features.start(keys, &authenticator, revoke, &parts.membership)?;
        let (routes, mut api) = routes.merge(ops::routes(Arc::clone(&parts.health))).split_for_parts();
        let (unhurried, unhurried_api) = unhurried.split_for_parts();
        api.merge(unhurried_api);
        let budget = Budget::new(config.sockets.memory_bytes_max);
        let keeping = Arc::clone(&budget).keep(Arc::clone(&parts.registry), working.clone());
        working.spawn("delivery.budget", keeping);
        let sockets = Sockets::new(ws::Parts {
            node,
            config: config.sockets.clone(),
            replay: ws::Replay::new(pools.requests.clone(), &database, &config.delivery),
            authenticator: Arc::clone(&authenticator),
            registry: Arc::clone(&parts.registry),
            membership: Arc::clone(&parts.membership),
            settlement: parts.settlement.clone(),
            handlers,
            budget,
            clock,
            shutdown: working.clone(),
        });
        let routes =
            routes.merge(documents::routes(&config.documents, api)?).merge(ws::routes(Arc::clone(&sockets)));
        let routes = layers::wrap(routes, unhurried, authenticator, &config.server);
        listen(&config, routes, &parts.health, metrics, &accepting, &working)?;
        tracing::info!(node.id = %node, listen = %config.server.listen, "the node is up");
        Ok(Self {
            config,
            pools,
            health: parts.health,
            sockets,
            settlement: parts.settlement,
            traces,
            accepting,
            working,
        })
    }

    /// Resolves when somebody asked the node to stop from inside (`POST /drain`).
    pub async fn asked_to_stop(&self) {
        self.health.draining().await;
    }

    /// Stops in order: the load balancer is told, and given the time to notice; nobody new is accepted, what
    /// was asked is answered, and the sockets are closed one by one; and what they confirmed is written down.
    pub async fn stop(self) {
        let server = &self.config.server;
        let limit = Duration::from_millis(server.stop_timeout_ms);
        self.health.start_draining();
        tracing::info!(connections = self.sockets.open(), "draining");
        tokio::time::sleep(Duration::from_millis(server.drain_notice_ms)).await;
        self.accepting.stop();
        let closing = self.sockets.drain(Duration::from_millis(server.drain_ms));
        let (answered, ()) = tokio::join!(self.accepting.finished(limit), closing);
        self.working.stop();
        let ended = self.working.finished(limit).await;
        self.settlement.flush(&self.pools.requests).await;
        if let Some(traces) = self.traces {
            traces.finish().await;
        }
        tracing::info!(in_time = answered && ended, "the node has stopped");
    }
}

fn follow_redis(link: &RedisLink, working: &Shutdown) {
    let (link, stop) = (link.clone(), working.clone());
    working.spawn("redis.follow", async move {
        // Cancel-safe: what was found is asked for again.
        if let Some(Err(error)) = stop.unless_stopped(link.follow()).await {
            tracing::error!(%error, "redis is not followed any more");
        }
    });
}

fn throttle(config: &Config, link: &RedisLink, clock: &SharedClock) -> Arc<dyn Throttle> {
    let local = MemoryThrottle::new(Arc::clone(clock), config.throttle.local_keys_max);
    Arc::new(FallbackThrottle { shared: Arc::new(RedisThrottle::new(link.clone())), local: Arc::new(local) })
}

/// What a revoked session means on this node: its tokens are refused, its sockets closed.
fn revoke_here(
    config: &Config,
    authenticator: &Arc<Authenticator>,
    registry: &Arc<Registry>,
    clock: &SharedClock,
) -> accounts::Announce {
    let (authenticator, registry, clock) =
        (Arc::clone(authenticator), Arc::clone(registry), Arc::clone(clock));
    let access_ttl = config.accounts.access_ttl();
    Arc::new(move |SessionRevoked { session, user }| {
        let forget_at = accounts::revocation::forget_at(clock.now(), access_ttl);
        authenticator.revoked().insert(session, forget_at);
        registry.close_session(user, session);
    })
}

/// What a revocation made on this node means: the same here, and a word to the other nodes.
fn announce(
    revoke: accounts::Announce,
    membership: &Arc<Membership>,
    working: &Shutdown,
) -> accounts::Announce {
    let (sender, mut queue) = tokio::sync::mpsc::channel::<SessionRevoked>(CONTROL_QUEUE_MAX);
    let (membership, stop) = (Arc::clone(membership), working.clone());
    working.spawn("accounts.announce", async move {
        while let Some(Some(SessionRevoked { session, user })) = stop.unless_stopped(queue.recv()).await {
            membership.broadcast(&Control::SessionRevoked { user, session }).await;
        }
    });
    Arc::new(move |revoked| {
        revoke(revoked);
        // If the queue is full, the other nodes find it by their poll.
        if sender.try_send(revoked).is_err() {
            metrics::counter!("fanlight_revocation_announcements_dropped_total").increment(1);
        }
    })
}

fn on_control(
    registry: &Arc<Registry>,
    revoke: accounts::Announce,
    database: Arc<db::Watch>,
    presence: Arc<presence::Service>,
) -> ControlListener {
    let registry = Arc::clone(registry);
    Arc::new(move |control| match control {
        Control::SessionRevoked { user, session } => revoke(SessionRevoked { session, user }),
        Control::DeviceConnected { user, device, connection } => {
            registry.replace_device(user, &device, connection);
        }
        Control::DatabaseSeen(server) => database.hear(server),
        Control::PresenceChanged { standings } => presence.hear(standings),
    })
}

fn listen(
    config: &Config,
    routes: Router,
    health: &Arc<Health>,
    metrics: PrometheusHandle,
    accepting: &Shutdown,
    working: &Shutdown,
) -> anyhow::Result<()> {
    let header_timeout = Duration::from_millis(config.server.header_timeout_ms);
    let public = Server {
        listener: server::listen(config.server.listen)?,
        router: routes,
        proxies: config.server.proxies()?,
        header_timeout,
        connections_max: config.server.handshakes_max,
        connections_per_address_max: config.server.handshakes_per_address_max,
    };
    let internal = Server {
        listener: server::listen(config.server.internal_listen)?,
        router: ops::internal_routes(Arc::clone(health), metrics),
        proxies: TrustedProxies::default(),
        header_timeout,
        connections_max: METRICS_CONNECTIONS_MAX,
        connections_per_address_max: METRICS_CONNECTIONS_MAX,
    };
    accepting.spawn("http.public", public.run(accepting.clone()));
    // Probes are answered until the end: the load balancer must see that this node drains.
    working.spawn("http.internal", internal.run(working.clone()));
    Ok(())
}
