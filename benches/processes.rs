//! Processes, and what they cost.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

/// A process that ends with this one.
pub struct Running(Child);

impl Running {
    /// This program in another role, which says where it listens. What it is told comes on stdin: arguments are visible
    /// to everybody.
    pub fn start(role: &str, told: &[&str]) -> anyhow::Result<(Self, SocketAddr)> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg(role).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        writeln!(child.stdin.take().context("piped")?, "{}", told.join("\n"))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
        Ok((Self(child), line.trim().parse()?))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The CPU time of a process and its children that run, to the nanosecond (`Documentation/scheduler/sched-stats.rst` of
/// the kernel). The time of threads that have ended is not in it.
pub fn cpu_us(pid: u32) -> anyhow::Result<f64> {
    let mut total = of_threads(pid)?;
    for entry in std::fs::read_dir("/proc")? {
        let Some(child) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may end meanwhile.
        if parent_of(child) == Some(pid) {
            total += of_threads(child).unwrap_or_default();
        }
    }
    Ok(total)
}

fn of_threads(pid: u32) -> anyhow::Result<f64> {
    let mut total = 0.0;
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(stat) = std::fs::read_to_string(entry?.path().join("schedstat")) else { continue };
        let nanoseconds: f64 = stat.split(' ').next().context("a number in schedstat")?.parse()?;
        total += nanoseconds / 1_000.0;
    }
    Ok(total)
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain anything, a closing parenthesis too.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// The process's own memory; what it shares with the file cache is not counted.
pub fn rss_kib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
