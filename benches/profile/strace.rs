//! System calls per status change, by kind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use fanlight::dev::process::{Signal, send};
use tokio::time::sleep;

use super::{NODES, Stage, require};
use crate::Size;

const RATE: f64 = 200.0;
/// strace has attached by then.
const ATTACHED: Duration = Duration::from_secs(1);
/// What is rarer per change is left out.
const RARE: f64 = 0.01;

pub async fn syscalls(size: Size) -> anyhow::Result<()> {
    require("strace", "strace")?;
    let binary = Path::new(env!("CARGO_BIN_EXE_fanlight"));
    let length = size.of(Duration::from_secs(10), Duration::from_millis(500));
    let stage = Stage::set(binary, Vec::new(), RATE, length).await?;
    let idle = Counting::start(&stage)?;
    sleep(ATTACHED + length).await;
    let idle = idle.end()?;
    let busy = Counting::start(&stage)?;
    sleep(ATTACHED).await;
    let changes = stage.changes().await?;
    let busy = busy.end()?;
    for ((name, idle), busy) in NODES.iter().zip(idle).zip(busy) {
        println!("\nSystem calls of {name} per change, at {RATE} per second, beyond its idle work:\n");
        let each = |call: &str| {
            let of = |counts: &BTreeMap<String, f64>| counts.get(call).copied().unwrap_or(0.0);
            (of(&busy) - of(&idle)) / changes
        };
        let mut calls: Vec<(&String, f64)> = busy.keys().map(|call| (call, each(call))).collect();
        calls.sort_by(|one, other| other.1.total_cmp(&one.1));
        for (call, each) in calls.iter().filter(|(_, each)| *each > RARE) {
            println!("{each:>10.2}  {call}");
        }
        println!("{:>10.2}  all", calls.iter().map(|(_, each)| each).sum::<f64>());
    }
    stage.cluster.stop().await;
    Ok(())
}

/// An strace of each node.
struct Counting([(Child, PathBuf); 2]);

impl Counting {
    fn start(stage: &Stage) -> anyhow::Result<Self> {
        let start = |pid: String| {
            let summary = stage.cluster.state.path().join(format!("strace-{pid}"));
            let mut command = Command::new("strace");
            command.args(["-c", "-f", "-S", "calls", "-p", &pid, "-o"]).arg(&summary).stderr(Stdio::null());
            anyhow::Ok((command.spawn().context("cannot start strace")?, summary))
        };
        let [first, second] = stage.pids();
        Ok(Self([start(first)?, start(second)?]))
    }

    /// How often each system call was made, by node.
    fn end(self) -> anyhow::Result<Vec<BTreeMap<String, f64>>> {
        let end = |(mut strace, summary): (Child, PathBuf)| {
            send(Signal::Int, &strace.id().to_string())?;
            strace.wait()?;
            Ok(counts(&std::fs::read_to_string(&summary)?))
        };
        self.0.into_iter().map(end).collect()
    }
}

/// Of a table with the columns `% time, seconds, usecs/call, calls, [errors,] syscall`.
fn counts(summary: &str) -> BTreeMap<String, f64> {
    let rows = summary.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let name = *columns.last().filter(|name| **name != "total")?;
        Some((name.to_owned(), columns.get(3)?.parse().ok()?))
    });
    rows.collect()
}
