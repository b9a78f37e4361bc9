//! Where the load goes: a private cluster, or one that runs already.

use std::time::Duration;

use anyhow::Context as _;
use fanlight::dev::cluster::{Cluster, ClusterOptions};
use fanlight::dev::state::StateDir;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::options::Options;
use crate::roster::{Registrar, Roster};

const ASK_POSTGRES_WITHIN: Duration = Duration::from_secs(10);
/// Everybody comes from this machine, and may write as often as the pace wants.
const UNLIMITED: &str = "100000";

pub enum Stage {
    Private(Box<Private>),
    /// The address of its load balancer.
    Target(String),
}

pub struct Private {
    pub cluster: Cluster,
    pub pool: PgPool,
}

impl Stage {
    pub async fn set(options: &Options) -> anyhow::Result<Self> {
        if let Some(target) = &options.target {
            return Ok(Self::Target(target.trim_end_matches('/').to_owned()));
        }
        let binary = std::env::current_exe().context("cannot tell which program this is")?;
        let unlimited = ["ACCOUNTS__REGISTRATIONS_PER_ADDRESS_MAX", "MESSAGES__PER_MINUTE_MAX"];
        let unlimited = unlimited.map(|name| (format!("FANLIGHT__{name}"), UNLIMITED.to_owned()));
        let mut env = Vec::from(unlimited);
        if let Some(bug) = options.bug() {
            env.push(("FANLIGHT_SEEDED_BUG".into(), bug.into()));
        }
        let cluster = Cluster::start(ClusterOptions {
            nodes: options.nodes,
            // The stores as in production: every commit reaches the disk.
            state: Some(StateDir::scratch()?),
            env,
            ..ClusterOptions::scratch(binary)
        })
        .await?;
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(ASK_POSTGRES_WITHIN)
            .connect(&cluster.postgres_url())
            .await?;
        Ok(Self::Private(Box::new(Private { cluster, pool })))
    }

    pub fn url(&self) -> String {
        match self {
            Self::Private(private) => private.cluster.url(),
            Self::Target(url) => url.clone(),
        }
    }

    pub fn private(&self) -> Option<&Private> {
        match self {
            Self::Private(private) => Some(private),
            Self::Target(_) => None,
        }
    }

    pub async fn roster(&self, options: &Options) -> anyhow::Result<Roster> {
        match self {
            Self::Private(private) => {
                let users = options.users()?;
                Roster::made(&private.cluster, &private.pool, users, if options.chats() { users } else { 0 })
                    .await
            }
            Self::Target(url) => Ok(Roster::Registered(Registrar::new(url, options.run_time()?).await?)),
        }
    }

    /// What the load went to, for the report.
    pub fn title(&self) -> String {
        match self {
            Self::Private(private) => format!(
                "a private cluster: {} nodes behind HAProxy, Postgres (durable), Redis, a fake FCM",
                private.cluster.nodes.len()
            ),
            Self::Target(url) => {
                format!("{url}, as a client sees it: neither what was pushed nor what is settled is known")
            }
        }
    }

    pub async fn strike(self) {
        if let Self::Private(private) = self {
            private.pool.close().await;
            private.cluster.stop().await;
        }
    }
}
