//! Where the time of a status change goes, on the caller's node and on its partner's.
//!
//! Two nodes, couples across them, changes at a fixed rate; strace counts the system calls of both nodes, callgrind the
//! instructions. Both make the nodes slow: what is counted means something, times do not.

use std::path::Path as FilePath;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use fanlight::dev::cluster::{Cluster, ClusterOptions};
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::statistics::count;
use crate::status_path::{COUPLES, Path};
use crate::wire::address;

mod instructions;
mod strace;

pub use instructions::instructions;
pub use strace::syscalls;

/// The nodes, as they are called in what is printed.
const NODES: [&str; 2] = ["the caller's node", "the partner's node"];

/// Two nodes, and couples that make changes from one to the other.
struct Stage {
    cluster: Cluster,
    path: Path,
    rate: f64,
    length: Duration,
    _tasks: JoinSet<()>,
}

impl Stage {
    async fn set(
        binary: &FilePath,
        env: Vec<(String, String)>,
        rate: f64,
        length: Duration,
    ) -> anyhow::Result<Self> {
        let cluster =
            Cluster::start(ClusterOptions { nodes: 2, env, ..ClusterOptions::scratch(binary) }).await?;
        let pool = PgPool::connect(&cluster.postgres_url()).await?;
        let nodes = [address(&cluster.nodes[0].http())?, address(&cluster.nodes[1].http())?];
        let mut tasks = JoinSet::new();
        let path = Path::over_cluster("Fanlight", nodes, &cluster, &pool, &mut tasks).await?;
        let stage = Self { cluster, path, rate, length, _tasks: tasks };
        // For the caches.
        stage.changes().await?;
        Ok(stage)
    }

    /// Makes some changes; returns how many.
    async fn changes(&self) -> anyhow::Result<f64> {
        Ok(count(self.path.round(self.rate, self.length).await?.arrived.len() + COUPLES))
    }

    fn pids(&self) -> [String; 2] {
        [0, 1].map(|node: usize| self.cluster.nodes[node].process.pid().to_string())
    }
}

/// Says what to do if a program is missing.
fn require(program: &str, package: &str) -> anyhow::Result<()> {
    let found = Command::new(program).arg("--version").output();
    ensure!(found.is_ok(), "{program} is not installed: apt-get install {package}");
    Ok(())
}

/// Runs a program; returns what it says.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
