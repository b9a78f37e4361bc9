//! A whole cluster on this machine: private stores, a fake FCM, any number of nodes, `HAProxy` in front.
//!
//! `fanlight dev` shows it to people, the tests break it on purpose, the benchmarks measure it. Several may run at
//! once. Dropping it ends every process of it; [`Cluster::stop`] does so in order and waits.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use sqlx::PgPool;

use super::fcm::{self, FakeFcm};
use super::haproxy::{Backend, Haproxy};
use super::node::Node;
use super::ports;
use super::postgres::{Durability, Postgres};
use super::process::Process;
use super::redis::Redis;
use super::settings::{self, Stores};
use super::state::StateDir;
use crate::db;
use crate::shutdown::Shutdown;

const DATABASE: &str = "fanlight";
const TASKS_END_WITHIN: Duration = Duration::from_secs(2);

pub struct ClusterOptions {
    pub nodes: usize,
    /// Where `HAProxy` listens; a free port if not given.
    pub port: Option<u16>,
    /// Where data and logs are kept; a directory that is removed at the end if not given.
    pub state: Option<StateDir>,
    /// The `fanlight` program.
    pub binary: PathBuf,
    /// Where something listens that serves the page of `fanlight dev`; the load balancer leads to it.
    pub page: Option<u16>,
    /// Settings of all nodes, as `FANLIGHT__SECTION__KEY`.
    pub env: Vec<(String, String)>,
}

impl ClusterOptions {
    /// Three nodes on free ports that leave nothing behind: what a test wants.
    #[must_use]
    pub fn scratch(binary: impl Into<PathBuf>) -> Self {
        Self { nodes: 3, port: None, state: None, binary: binary.into(), page: None, env: Vec::new() }
    }
}

/// Fields are dropped in the order in which the cluster should stop.
pub struct Cluster {
    pub haproxy: Haproxy,
    pub nodes: Vec<Node>,
    pub fcm: FakeFcm,
    pub redis: Redis,
    pub postgres: Postgres,
    pub state: StateDir,
    /// Ends what runs in this process.
    tasks: Tasks,
}

/// The tasks of the fake FCM; they end when this is dropped.
struct Tasks(Shutdown);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Cluster {
    /// Starts everything and returns when a request comes through.
    ///
    /// # Errors
    /// When a program is not installed or does not start; the message shows the end of its log.
    pub async fn start(options: ClusterOptions) -> anyhow::Result<Self> {
        if let Some(port) = options.port.filter(|port| !ports::is_free(*port)) {
            bail!("port {port} is in use; choose another one with --port");
        }
        let (state, durability) = match options.state {
            Some(state) => (state, Durability::Durable),
            None => (StateDir::scratch()?, Durability::Fast),
        };
        let port = options.port.map_or_else(ports::free, Ok)?;
        let tasks = Tasks(Shutdown::new());
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (postgres, redis, fcm) = tokio::try_join!(
            Postgres::start(&state, None, durability),
            Redis::start(&state, None),
            fcm::start(&tasks.0, anywhere, fcm::Config::default()),
        )?;
        let postgres_url = migrated(&postgres).await?;
        let settings = settings::write(
            &state,
            &Stores {
                postgres: &postgres_url,
                redis: &redis.url(),
                fcm: &fcm.url(),
                fcm_account: fcm.service_account(),
            },
            port,
        )?;

        let backends: Vec<Backend> = (1..=options.nodes)
            .map(|number| {
                let name = format!("node-{number}");
                Ok(Backend { name, http: ports::free()?, internal: ports::free()? })
            })
            .collect::<anyhow::Result<_>>()?;
        let mut nodes = Vec::new();
        for backend in &backends {
            nodes.push(Node::start(&state, &options.binary, &settings, backend.clone(), &options.env)?);
        }
        for node in &mut nodes {
            node.ready().await?;
        }
        let haproxy = Haproxy::start(&state, port, &backends, options.page).await?;
        Ok(Self { haproxy, nodes, fcm, redis, postgres, state, tasks })
    }

    /// Where clients connect: the load balancer.
    #[must_use]
    pub fn url(&self) -> String {
        self.haproxy.url()
    }

    /// The nodes' database.
    #[must_use]
    pub fn postgres_url(&self) -> String {
        self.postgres.url(DATABASE)
    }

    /// Every process by name.
    pub fn processes(&mut self) -> impl Iterator<Item = (String, &mut Process)> {
        let nodes = self.nodes.iter_mut().map(|node| (node.name().to_owned(), &mut node.process));
        [
            ("postgres".to_owned(), &mut self.postgres.process),
            ("redis".to_owned(), &mut self.redis.process),
            ("haproxy".to_owned(), &mut self.haproxy.process),
        ]
        .into_iter()
        .chain(nodes)
    }

    /// Stops everything in order: the nodes while their stores still answer, Postgres last.
    pub async fn stop(mut self) {
        futures_util::future::join_all(self.nodes.iter_mut().map(|node| node.process.stop())).await;
        self.haproxy.process.stop().await;
        self.redis.process.stop().await;
        self.postgres.process.stop().await;
        self.tasks.0.stop();
        self.tasks.0.finished(TASKS_END_WITHIN).await;
    }
}

async fn migrated(postgres: &Postgres) -> anyhow::Result<String> {
    postgres.create_database(DATABASE, "template0").await?;
    let url = postgres.url(DATABASE);
    let pool = PgPool::connect(&url).await?;
    db::migrate(&pool).await.context("the migrations do not run; start again with --fresh")?;
    pool.close().await;
    Ok(url)
}
