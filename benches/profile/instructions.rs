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
    let text = output(Command::new("callgrind_annotate").args(["--threshold=100", "--auto=no"]).arg(dump))?;
    let functions: Vec<(&str, f64)> = text.lines().filter_map(function).collect();
    let all: f64 = functions.iter().map(|(_, instructions)| instructions).sum();
    println!("\nInstructions of {name} per change, its idle work included: {:.0}.", all / changes);
    println!("In thousands, by crate:\n");
    print(functions.iter().map(|(function, instructions)| (crate_of(function), *instructions)), all, changes);
    println!("\nBy function:\n");
    print(functions.iter().copied(), all, changes);
    Ok(())
}

/// What is inlined in several places is one function here.
fn print<'a>(parts: impl Iterator<Item = (&'a str, f64)>, all: f64, changes: f64) {
    let mut by_name: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, instructions) in parts {
        *by_name.entry(name).or_default() += instructions;
    }
    let mut lines: Vec<(&str, f64)> = by_name.into_iter().collect();
    lines.sort_by(|one, other| other.1.total_cmp(&one.1));
    for (name, instructions) in lines.iter().take(SHOWN) {
        println!("{:>10.1}{:>8.1} %  {name}", instructions / changes / 1_000.0, instructions / all * 100.0);
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
