//! What a run is told: goose's own options, and ours.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use goose::config::GooseConfiguration;

/// Couples, rooms, storms and an ordinary day on a Fanlight cluster, and whether anything was lost.
///
/// Starts a private cluster, unless --target names one. Exits 1 when something was lost, came twice or out of order,
/// or took longer than it may.
#[derive(Clone, Parser)]
#[command(name = "loadtest")]
pub struct Options {
    /// A cluster that runs already; what only its operator sees is then not looked at.
    #[arg(help_heading = "Fanlight", long, value_name = "URL")]
    pub target: Option<String>,
    /// Nodes of the private cluster.
    #[arg(help_heading = "Fanlight", long, value_name = "N", default_value_t = 3)]
    pub nodes: usize,
    /// How often each couple changes a light, and something is said in each room, in ms.
    #[arg(help_heading = "Fanlight", long, value_name = "MS", default_value_t = 1_000)]
    pub pace_ms: u64,
    /// How often the sockets of the storm are cut, and a tenth of those of each room, in seconds.
    #[arg(help_heading = "Fanlight", long, value_name = "S", default_value_t = 15)]
    pub storm_every: u64,
    /// Restarts the nodes of the private cluster one after the other, over the run.
    #[arg(help_heading = "Fanlight", long, conflicts_with = "target")]
    pub rolling_restart: bool,
    /// The p99 from when a change was due to the partner's frame, and from when a message was due to each member's, may
    /// be this, in ms.
    #[arg(help_heading = "Fanlight", long, value_name = "MS", default_value_t = 500)]
    pub p99_ms: u64,
    /// The share of requests that may fail, in percent.
    #[arg(help_heading = "Fanlight", long, value_name = "PERCENT", default_value_t = 0.1)]
    pub errors_percent: f64,
    /// How long after the run everything may take to be settled, in seconds.
    #[arg(help_heading = "Fanlight", long, value_name = "S", default_value_t = 60)]
    pub settled_within: u64,
    /// Writes the summary to a file, too.
    #[arg(help_heading = "Fanlight", long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Makes the nodes make a mistake that the run has to find.
    #[cfg(feature = "seeded-bugs")]
    #[arg(help_heading = "Fanlight", long, value_name = "NAME", conflicts_with = "target")]
    pub seeded_bug: Option<String>,
    #[command(flatten)]
    pub goose: GooseConfiguration,
}

impl Options {
    /// Refuses what contradicts itself.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.goose.host.is_none(), "say --target URL instead of --host");
        ensure!(self.nodes > 0 && self.pace_ms > 0, "--nodes and --pace-ms must be more than 0");
        ensure!(self.storm_every > 0, "--storm-every must be more than 0");
        ensure!(self.errors_percent >= 0.0, "--errors-percent must not be negative");
        ensure!(!self.goose.no_metrics, "without metrics no run can be judged");
        self.run_time()?;
        self.users()?;
        if let Some(target) = &self.target
            && !target.starts_with("http://")
        {
            bail!("--target must begin with http://: put what ends TLS in front of this program");
        }
        Ok(())
    }

    pub fn users(&self) -> anyhow::Result<usize> {
        self.goose.users.filter(|users| *users > 0).context("--users N says how many couples take part")
    }

    pub fn run_time(&self) -> anyhow::Result<Duration> {
        let text = self.goose.run_time.as_deref().context("--run-time, such as 5m, says how long")?;
        let seconds = goose::util::parse_timespan(text).filter(|seconds| *seconds > 0);
        let seconds = seconds.with_context(|| format!("--run-time {text} is no time, such as 5m or 90s"))?;
        Ok(Duration::from_secs(u64::try_from(seconds)?))
    }

    /// Whether rooms take part.
    pub fn chats(&self) -> bool {
        let active = self.goose.scenarios.iter().flat_map(|scenarios| &scenarios.active);
        active.into_iter().any(|name| name == "chat" || name.contains('*'))
    }

    pub fn bug(&self) -> Option<&str> {
        #[cfg(feature = "seeded-bugs")]
        return self.seeded_bug.as_deref();
        #[cfg(not(feature = "seeded-bugs"))]
        None
    }
}
