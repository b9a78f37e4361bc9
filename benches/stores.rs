//! What Redis and Postgres say of what they were asked.

use std::collections::BTreeMap;

use anyhow::Context as _;
use fanlight::dev::cluster::Cluster;
use fanlight::dev::postgres::{Durability, Postgres};
use fanlight::dev::scrape;
use fanlight::dev::state::StateDir;
use sqlx::PgPool;

use crate::processes::cpu_us;

/// Commands that the nodes sent, as many as they waited for; of several in one pipeline only one.
pub const ROUND_TRIPS: &str = "Redis round trips of the nodes";
pub const STATEMENTS: &str = "Postgres statements";

/// Prepares a Postgres that can count its statements. It does not yet: that costs a little. It trusts this machine, because
/// connecting is not what is measured, and takes a debug build long.
pub async fn let_postgres_count(state: &StateDir) -> anyhow::Result<()> {
    use std::io::Write as _;

    let mut postgres = Postgres::start(state, None, Durability::Fast).await?;
    postgres.process.stop().await;
    let settings = state.path().join("postgres/postgresql.conf");
    let mut settings = std::fs::OpenOptions::new().append(true).open(settings)?;
    settings.write_all(
        b"\nshared_preload_libraries = 'pg_stat_statements'\npg_stat_statements.track = 'none'\n",
    )?;
    Ok(())
}

/// From now on it counts.
pub async fn track_statements(pool: &PgPool) -> anyhow::Result<()> {
    sqlx::query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        .execute(pool)
        .await
        .context("pg_stat_statements comes with Postgres, or in a package named postgresql-contrib")?;
    sqlx::query("ALTER SYSTEM SET pg_stat_statements.track = 'top'").execute(pool).await?;
    sqlx::query("SELECT pg_reload_conf()").execute(pool).await?;
    Ok(())
}

/// How often Redis ran each command, those within scripts included.
pub async fn commands(cluster: &Cluster) -> anyhow::Result<BTreeMap<String, f64>> {
    let client = redis::Client::open(cluster.redis.url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await?;
    let calls = info.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((format!("Redis {name}"), rest.split(',').next()?.parse().ok()?))
    });
    Ok(calls.collect())
}

/// What has been done so far, by name.
pub struct Work(BTreeMap<String, f64>);

impl Work {
    pub async fn now(cluster: &Cluster, pool: &PgPool) -> anyhow::Result<Self> {
        let mut work = commands(cluster).await?;
        work.insert(ROUND_TRIPS.to_owned(), round_trips(cluster).await?);
        let statements: Vec<(String, f64)> = sqlx::query_as(
            r"SELECT left(regexp_replace(query, '\s+', ' ', 'g'), 90), sum(calls)::float8
              FROM pg_stat_statements GROUP BY 1",
        )
        .fetch_all(pool)
        .await?;
        work.insert(STATEMENTS.to_owned(), statements.iter().map(|(_, calls)| calls).sum());
        work.extend(statements.into_iter().map(|(text, calls)| (format!("of these: {text}"), calls)));
        Ok(Self(work))
    }

    pub fn add_cpu(&mut self, name: &str, pid: u32) -> anyhow::Result<()> {
        self.0.insert(name.to_owned(), cpu_us(pid)?);
        Ok(())
    }

    /// What has been done since then.
    pub fn since(&self, before: &Self) -> BTreeMap<String, f64> {
        self.0.iter().map(|(name, done)| (name.clone(), done - before.of(name))).collect()
    }

    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    pub fn of(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }
}

async fn round_trips(cluster: &Cluster) -> anyhow::Result<f64> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut total = 0;
    for node in &cluster.nodes {
        let metrics = client.get(format!("{}/metrics", node.internal())).send().await?.text().await?;
        total += scrape::sum(&metrics, "fanlight_redis_commands_total", "");
    }
    Ok(f64::from(u32::try_from(total)?))
}
