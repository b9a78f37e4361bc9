//! Redis Sentinel: a replica of a master, and three sentinels that put it in the master's place.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::ports;
use super::redis::Redis;
use super::state::StateDir;

/// What the sentinels call the master.
pub const MASTER: &str = "main";
const SENTINELS: usize = 3;
const QUORUM: usize = 2;
/// A master that is silent this long is given up.
const DOWN_AFTER_MS: u64 = 1_000;
const FAILOVER_TIMEOUT_MS: u64 = 5_000;
/// They tell each other of themselves every two seconds.
const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// Those who watch over a master.
pub struct Sentinels {
    pub replica: Redis,
    pub sentinels: Vec<Redis>,
}

impl Sentinels {
    /// Watches over a master that runs; `password` is the one it asks for, or empty.
    ///
    /// # Errors
    /// When a process does not start.
    pub async fn watch(state: &StateDir, master: &Redis, password: &str) -> anyhow::Result<Self> {
        let master_port = master.port().to_string();
        let mut args = vec!["--save", "", "--appendonly", "no", "--replicaof", "127.0.0.1", &master_port];
        if !password.is_empty() {
            args.extend(["--requirepass", password, "--masterauth", password]);
        }
        let replica = Redis::launch(state, "redis-replica", ports::free()?, &args).await?;
        let mut sentinels = Vec::new();
        for number in 1..=SENTINELS {
            sentinels.push(sentinel(state, number, &master_port, password).await?);
        }
        Ok(Self { replica, sentinels })
    }

    /// Waits until they could put the replica in the master's place: all know of it and of each other.
    ///
    /// # Errors
    /// When they do not find each other in time.
    pub async fn ready(&self) -> anyhow::Result<()> {
        for sentinel in &self.sentinels {
            let client = redis::Client::open(sentinel.url())?;
            let mut redis = client.get_multiplexed_async_connection().await?;
            let deadline = Instant::now() + READY_WITHIN;
            loop {
                let master: HashMap<String, String> =
                    redis::cmd("SENTINEL").arg("MASTER").arg(MASTER).query_async(&mut redis).await?;
                let knows = |what: &str, count: &str| master.get(what).is_some_and(|it| it == count);
                if knows("num-slaves", "1") && knows("num-other-sentinels", "2") && knows("flags", "master") {
                    break;
                }
                anyhow::ensure!(
                    Instant::now() < deadline,
                    "the sentinels do not find each other: {master:?}"
                );
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Redis::url).collect()
    }
}

async fn sentinel(
    state: &StateDir,
    number: usize,
    master_port: &str,
    password: &str,
) -> anyhow::Result<Redis> {
    let name = format!("sentinel-{number}");
    let login =
        if password.is_empty() { String::new() } else { format!("sentinel auth-pass {MASTER} {password}\n") };
    let settings = format!(
        "sentinel monitor {MASTER} 127.0.0.1 {master_port} {QUORUM}\n\
         sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}\n\
         sentinel failover-timeout {MASTER} {FAILOVER_TIMEOUT_MS}\n{login}"
    );
    // A sentinel writes what it learns into its configuration.
    let file = state.folder(&name)?.join("sentinel.conf");
    std::fs::write(&file, settings)?;
    if let Some(account) = state.account() {
        account.own(&file)?;
    }
    let file = file.to_string_lossy().into_owned();
    Redis::launch(state, &name, ports::free()?, &[&file, "--sentinel"]).await
}
