//! Instructions per status change, by function.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use fanlight::dev::state::StateDir;

use super::{NODES, Stage, output, require};
use crate::Size;

/// Few: a node is some fifty times slower.
const RATE: f64 = 20.0;
const FUNCTIONS_SHOWN: usize = 40;

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
        output(Command::new("callgrind_control").args(["--zero", pid]))?;
        output(Command::new("callgrind_control").args(["--instr=on", pid]))?;
    }
    let changes = stage.changes().await?;
    for (name, pid) in NODES.iter().zip(&pids) {
        output(Command::new("callgrind_control").args(["--instr=off", pid]))?;
        output(Command::new("callgrind_control").args(["--dump", pid]))?;
        report(name, &dump(scratch.path(), pid)?, changes)?;
    }
    stage.cluster.stop().await;
    Ok(())
}

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

/// The file into which callgrind has written what it counted.
fn dump(folder: &Path, pid: &str) -> anyhow::Result<PathBuf> {
    let name = format!("callgrind.{pid}");
    let files = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    files
        .filter(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&name)))
        .max_by_key(|path| fs::metadata(path).map_or(0, |file| file.len()))
        .context("callgrind has written nothing")
}

fn report(name: &str, dump: &Path, changes: f64) -> anyhow::Result<()> {
    let text = output(Command::new("callgrind_annotate").arg("--threshold=100").arg(dump))?;
    let functions: Vec<(&str, f64)> = text.lines().filter_map(function).collect();
    let all: f64 = functions.iter().map(|(_, instructions)| instructions).sum();
    println!(
        "\nInstructions of {name} per change, its idle work included: {:.0}; in thousands, by crate:\n",
        all / changes
    );
    let mut by_crate: BTreeMap<&str, f64> = BTreeMap::new();
    for (function, instructions) in &functions {
        *by_crate.entry(crate_of(function)).or_default() += instructions;
    }
    let mut by_crate: Vec<(&str, f64)> = by_crate.into_iter().collect();
    by_crate.sort_by(|one, other| other.1.total_cmp(&one.1));
    print(&by_crate, all, changes);
    println!("\nBy function:\n");
    print(&functions, all, changes);
    Ok(())
}

fn print(lines: &[(&str, f64)], all: f64, changes: f64) {
    for (name, instructions) in lines.iter().take(FUNCTIONS_SHOWN) {
        println!("{:>10.1}{:>8.1} %  {name}", instructions / changes / 1_000.0, instructions / all * 100.0);
    }
}

/// A line of `callgrind_annotate`: `1,234 (5.6%)  file:function [object]`.
fn function(line: &str) -> Option<(&str, f64)> {
    let (instructions, rest) = line.trim_start().split_once(" (")?;
    let instructions = instructions.replace(',', "").parse().ok()?;
    let (_, name) = rest.split_once(')')?;
    let name = name.trim();
    let name = name.rsplit_once(" [").map_or(name, |(name, _)| name);
    let name = name.split_once(':').map_or(name, |(_, function)| function);
    (name != "PROGRAM TOTALS").then_some((name, instructions))
}

/// `tokio` of `<tokio::io::A as core::B>::c`; what has no path is C.
fn crate_of(function: &str) -> &str {
    let path = function
        .trim_start_matches(['<', '&', '*', '('])
        .trim_start_matches("mut ")
        .trim_start_matches("dyn ");
    path.split_once("::").map_or("C", |(first, _)| first)
}
