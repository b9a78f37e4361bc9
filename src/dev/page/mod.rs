//! The page of `fanlight dev`: two phones on different nodes, with a channel on both, the cluster beneath them, and the way
//! of each event and message.
//!
//! It is served by the process that started the cluster, behind the same load balancer as the API, and exists in
//! development only. What it shows is watched from outside (Postgres, the bus in Redis, the phones' lines, the fake
//! FCM, the nodes' probes): the nodes run as in production, and know nothing of it.

use std::sync::Arc;

use anyhow::Context as _;
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::cluster::Cluster;
use super::fcm::FakeFcm;
use super::seed::Seeded;
use crate::shutdown::Shutdown;

mod api;
mod bus;
mod files;
mod journal;
mod line;
mod nodes;
mod state;

use bus::Bus;
use journal::Journal;
use line::Line;
pub use nodes::{Action, NodeFact, Order};

/// Orders that may wait for the cluster's owner.
const ORDERS_MAX: usize = 16;
const DATABASE_CONNECTIONS_MAX: u32 = 2;

/// What all requests to the page share.
struct Page {
    nodes: watch::Receiver<Vec<NodeFact>>,
    orders: mpsc::Sender<Order>,
    seeded: Seeded,
    lines: Vec<Arc<Line>>,
    journal: Arc<Journal>,
    bus: Arc<Bus>,
    fcm: FakeFcm,
    pool: sqlx::PgPool,
    http: reqwest::Client,
}

/// What the owner of the cluster keeps: it tells how the nodes are, and does what the page is asked for.
pub struct Desk {
    pub nodes: watch::Sender<Vec<NodeFact>>,
    pub orders: mpsc::Receiver<Order>,
    tasks: Shutdown,
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

/// Serves the page on `port` until the desk is dropped.
///
/// # Errors
/// When a port is taken, or Postgres does not answer.
pub async fn start(port: u16, cluster: &Cluster, seeded: &Seeded) -> anyhow::Result<Desk> {
    let tasks = Shutdown::new();
    let journal = Arc::<Journal>::default();
    let bus = Bus::follow(&journal, &cluster.redis.url(), &tasks)?;
    let mut lines = Vec::new();
    for (index, user) in seeded.users.iter().enumerate() {
        // Each begins at another node, and goes on where the others do not begin, if it can.
        let mut upstreams: Vec<_> = cluster.nodes.iter().map(line::Upstream::of).collect();
        let begin = index % upstreams.len();
        upstreams.rotate_left(begin);
        upstreams.get_mut(1..).unwrap_or_default().reverse();
        lines.push(Line::open(user, upstreams, &journal, &tasks).await?);
    }
    let pool = PgPoolOptions::new()
        .max_connections(DATABASE_CONNECTIONS_MAX)
        .connect(&cluster.postgres_url())
        .await
        .context("the page cannot read the events")?;
    let (nodes, facts) = watch::channel(Vec::new());
    let (orders, queue) = mpsc::channel(ORDERS_MAX);
    let page = Page {
        nodes: facts,
        orders,
        seeded: seeded.clone(),
        lines,
        journal,
        bus,
        fcm: cluster.fcm.clone(),
        pool,
        http: nodes::probing_client()?,
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await.context("cannot serve the page")?;
    let stop = tasks.clone();
    let router =
        api::routes(Arc::new(page)).merge(files::routes()).layer(axum::middleware::from_fn(api::guard));
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move { stop.stopped().await });
    tasks.spawn("dev.page", async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the page is not served any more");
        }
    });
    Ok(Desk { nodes, orders: queue, tasks })
}
