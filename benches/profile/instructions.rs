//! Instructions per status change, by function.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fanlight::dev::state::StateDir;
use tokio::time::sleep;

use super::{NODES, Stage, output, require};
use crate::Size;

/// Few: a node is some fifty times slower.
const RATE: f64 = 20.0;
const SHOWN: usize = 40;

pub async fn instructions(size: Size) -> anyhow::Result<()> {
    require("valgrind", "valgrind")?;
    let scratch = StateDir::scratch()?;
    let binary = wrapper(scratch.path())?;
    // Nothing is slow enough to be given up.
    let env = [
        ("REDIS__COMMAND_TIMEOUT_MS", "10000"),
        ("REDIS__LEASE_MS", "60000"),
        ("DELIVERY__ACK_DEADLINE_MS", "60000"),
    ]
    .map(|(name, value)| (format!("FANLIGHT__{name}"), value.to_owned()));
    let length = size.of(Duration::from_secs(20), Duration::from_secs(1));
    let stage = Stage::set(&binary, env.to_vec(), RATE, length).await?;
    let pids = stage.pids();
    for pid in &pids {
        output(Command::new("callgrind_control").args(["--instr=on", pid]))?;
    }
    sleep(length).await;
    let idle = counted(&pids, scratch.path(), 1)?;
    let changes = stage.changes().await?;
    let busy = counted(&pids, scratch.path(), 2)?;
    for ((name, idle), busy) in NODES.iter().zip(&idle).zip(&busy) {
        report(name, idle, busy, changes);
    }
    stage.cluster.stop().await;
    Ok(())
}

/// Instructions by function.
type Counts = BTreeMap<String, f64>;

/// A program that runs a node under callgrind, which does not count yet.
fn wrapper(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("fanlight-under-callgrind");
    let script = format!(
        "#!/bin/sh\nexec valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file='{}/callgrind.%p' '{}' \"$@\"\n",
        folder.display(),
        env!("CARGO_BIN_EXE_fanlight")
    );
    fs::write(&path, script)?;
    fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    Ok(path)
}

/// What callgrind has counted in each node since it wrote that down the last time.
fn counted(pids: &[String; 2], folder: &Path, part: usize) -> anyhow::Result<Vec<Counts>> {
    for pid in pids {
        output(Command::new("callgrind_control").args(["--dump", pid]))?;
    }
    let counts = |pid: &String| {
        let dump = folder.join(format!("callgrind.{pid}.{part}"));
        let text =
            output(Command::new("callgrind_annotate").args(["--threshold=100", "--auto=no"]).arg(dump))?;
        Ok(summed(text.lines().filter_map(function)))
    };
    pids.iter().map(counts).collect()
}

fn report(name: &str, idle: &Counts, busy: &Counts, changes: f64) {
    let each = |(function, instructions): (&String, &f64)| {
        (function.clone(), (instructions - idle.get(function).unwrap_or(&0.0)) / changes)
    };
    let functions: Counts = busy.iter().map(each).collect();
    let all: f64 = functions.values().sum();
    println!(
        "\nInstructions of {name} per change, beyond its idle work: {all:.0}. In thousands, by crate:\n"
    );
    print(&summed(functions.iter().map(|(function, instructions)| (crate_of(function), *instructions))), all);
    println!("\nBy function:\n");
    print(&functions, all);
}

/// What is inlined in several places is one function here.
fn summed<'a>(parts: impl Iterator<Item = (&'a str, f64)>) -> Counts {
    let mut counts = Counts::new();
    for (name, instructions) in parts {
        *counts.entry(name.to_owned()).or_default() += instructions;
    }
    counts
}

fn print(counts: &Counts, all: f64) {
    let mut lines: Vec<(&String, &f64)> = counts.iter().collect();
    lines.sort_by(|one, other| other.1.total_cmp(one.1));
    for (name, instructions) in lines.into_iter().take(SHOWN) {
        println!("{:>10.1}{:>8.1} %  {name}", instructions / 1_000.0, instructions / all * 100.0);
    }
}

/// A line of `callgrind_annotate`: `1,234 ( 5.6%)  file:function [object]`.
fn function(line: &str) -> Option<(&str, f64)> {
    let (instructions, rest) = line.trim_start().split_once(" (")?;
    let instructions = instructions.replace(',', "").parse().ok()?;
    let (_, name) = rest.split_once(')')?;
    let (_, name) = name.split_once(':')?;
    Some((name.rsplit_once(" [").map_or(name, |(name, _)| name), instructions))
}

/// `tokio` of `<tokio::io::A as core::B>::c`, `core` of `<T as core::B>::c`; what has no path is C.
fn crate_of(function: &str) -> &str {
    let path = function
        .trim_start_matches(['<', '&', '*', '('])
        .trim_start_matches("mut ")
        .trim_start_matches("dyn ");
    let Some((first, _)) = path.split_once("::") else { return "C" };
    first.rsplit_once(" as ").map_or(first, |(_, name)| name)
}
