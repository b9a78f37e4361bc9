//! The cluster that is broken: real nodes and stores, with a bad network on every way between them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::slice::from_ref;
use std::time::Duration;

use anyhow::Context as _;
use fanlight::dev::cluster::{Cluster, ClusterOptions};
use fanlight::dev::people;
use fanlight::shutdown::Shutdown;
use futures_util::future::try_join_all;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::proxy::{Proxy, Weather};
use crate::rooms::{self, Room};
use crate::users::{self, User};

/// Longer than any run.
const TOKEN_TTL: Duration = Duration::from_hours(24);
const TASKS_END_WITHIN: Duration = Duration::from_secs(5);
const ASK_POSTGRES_WITHIN: Duration = Duration::from_secs(10);

pub struct Arena {
    /// Where clients connect: the load balancer, then each node.
    pub doors: Vec<Proxy>,
    /// Each node's way to its stores.
    pub to_redis: Vec<Proxy>,
    pub to_postgres: Vec<Proxy>,
    pub cluster: Cluster,
    /// Ours, past the proxies.
    pub pool: PgPool,
    pub tasks: Shutdown,
    /// What the ways to Postgres are like while nothing is broken.
    pub postgres_weather: Weather,
    seeded_bug: Option<String>,
}

impl Arena {
    /// Starts three nodes that reach everything through proxies.
    pub async fn start(seeded_bug: Option<String>, postgres_delay: Duration) -> anyhow::Result<Self> {
        let binary: PathBuf = std::env::current_exe().context("cannot tell which program this is")?;
        let cluster = Cluster::start(ClusterOptions::scratch(binary)).await?;
        let tasks = Shutdown::new();
        let (redis, postgres) = (address(&cluster.redis.url())?, address(&cluster.postgres_url())?);
        let mut doors = vec![Proxy::start(address(&cluster.url())?, &tasks).await?];
        let (mut to_redis, mut to_postgres) = (Vec::new(), Vec::new());
        for node in &cluster.nodes {
            doors.push(Proxy::start(address(&node.http())?, &tasks).await?);
            to_redis.push(Proxy::start(redis, &tasks).await?);
            to_postgres.push(Proxy::start(postgres, &tasks).await?);
        }
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .acquire_timeout(ASK_POSTGRES_WITHIN)
            .connect(&cluster.postgres_url())
            .await?;
        let postgres_weather =
            if postgres_delay.is_zero() { Weather::Clear } else { Weather::Slow(postgres_delay) };
        for way in &to_postgres {
            way.set(postgres_weather);
        }
        let mut arena =
            Self { doors, to_redis, to_postgres, cluster, pool, tasks, postgres_weather, seeded_bug };
        let env =
            (0..arena.to_redis.len()).map(|node| arena.node_env(node)).collect::<anyhow::Result<Vec<_>>>()?;
        let restarts = arena.cluster.nodes.iter_mut().zip(&env).map(|(node, env)| node.restart(env));
        try_join_all(restarts).await?;
        Ok(arena)
    }

    /// Starts a node again, on its ways through the proxies.
    pub async fn restart_node(&mut self, node: usize) -> anyhow::Result<()> {
        let env = self.node_env(node)?;
        self.cluster.nodes[node].restart(&env).await
    }

    fn node_env(&self, node: usize) -> anyhow::Result<Vec<(String, String)>> {
        let redis = format!("redis://{}/", self.to_redis[node].address());
        let direct = address(&self.cluster.postgres_url())?.to_string();
        let postgres =
            self.cluster.postgres_url().replace(&direct, &self.to_postgres[node].address().to_string());
        let mut env = vec![
            ("FANLIGHT__REDIS__URL".to_owned(), redis),
            ("FANLIGHT__POSTGRES__URL".to_owned(), postgres),
        ];
        if let Some(bug) = &self.seeded_bug {
            env.push(("FANLIGHT_SEEDED_BUG".to_owned(), bug.clone()));
        }
        Ok(env)
    }

    /// Makes couples with phones.
    pub async fn people(&self, count: usize, rng: &mut fastrand::Rng) -> anyhow::Result<Vec<User>> {
        let people = people::people(&self.cluster, &self.pool, count, TOKEN_TTL).await?;
        let users = users::cast(people, rng);
        for user in &users {
            if let Some(phone) = &user.phone {
                people::give_phone(&self.pool, &user.person, phone).await?;
            }
            if user.index < user.partner {
                let (one, other) = (&user.person, &users[user.partner].person);
                people::link(&self.pool, from_ref(one), from_ref(other)).await?;
            }
        }
        Ok(users)
    }

    /// Makes rooms of these people.
    pub async fn rooms(
        &self,
        count: usize,
        users: &[User],
        rng: &mut fastrand::Rng,
    ) -> anyhow::Result<Vec<Room>> {
        let rooms = rooms::cast(count, users.len(), rng);
        rooms::open(&self.pool, &rooms, users).await?;
        Ok(rooms)
    }

    pub async fn stop(self) {
        self.pool.close().await;
        self.tasks.stop();
        self.tasks.finished(TASKS_END_WITHIN).await;
        self.cluster.stop().await;
    }
}

/// The `127.0.0.1:port` in a URL.
fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let host = url.split("://").nth(1).unwrap_or(url);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let host = host.split('/').next().unwrap_or(host);
    host.parse().with_context(|| format!("no address in {url}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_every_url_of_the_cluster() {
        for url in ["http://127.0.0.1:7", "redis://127.0.0.1:7/", "postgres://a:b@127.0.0.1:7/fanlight"] {
            assert_eq!(address(url).unwrap().to_string(), "127.0.0.1:7");
        }
    }
}
