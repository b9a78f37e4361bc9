//! One server as a child process that never outlives us.
//!
//! A small shell stands between (`supervise.sh`): it starts the server, tells its pid, and waits for its standard
//! input, a pipe from us, to close. The kernel closes that pipe however we end, `kill -9` included. (Linux' own
//! `PR_SET_PDEATHSIG` fires when the spawning *thread* ends, which in a thread pool is any time.)

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::Instant;

use super::account::Account;

const SUPERVISE: &str = include_str!("supervise.sh");
const POLL: Duration = Duration::from_millis(20);
const LOG_TAIL_LINES: usize = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Term,
    Int,
    Kill,
    /// Freezes the process: its sockets stay open, and nobody answers on them.
    Stop,
    Cont,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
        }
    }
}

/// How to start a server; kept, so that it can be started again in the same way.
#[derive(Clone, Debug)]
pub struct Launch {
    pub binary: PathBuf,
    pub args: Vec<OsString>,
    pub env: Vec<(String, String)>,
    /// Its working directory.
    pub directory: PathBuf,
    /// Its output is appended here.
    pub log: PathBuf,
    pub account: Option<Account>,
    pub stop_signal: Signal,
    /// How long it may take to stop before it is killed.
    pub grace: Duration,
}

/// A server that runs, or has ended and can be started again.
pub struct Process {
    launch: Launch,
    shell: Child,
    /// Closing it stops the server.
    tether: Option<ChildStdin>,
    pid: u32,
}

impl Process {
    /// Starts the server. Blocks for the few milliseconds that a shell takes to start.
    ///
    /// # Errors
    /// When the shell cannot be started. A server that fails at once is seen by [`Process::is_running`].
    pub fn start(launch: Launch) -> anyhow::Result<Self> {
        let mut command = Command::new("sh");
        command
            .args(["-c", SUPERVISE, "supervise", launch.stop_signal.name()])
            .arg(launch.grace.as_secs().to_string())
            .arg(&launch.log)
            .arg(&launch.binary)
            .args(&launch.args)
            .envs(launch.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&launch.directory)
            // Ctrl-C goes to us alone; we stop the servers in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(account) = launch.account {
            account.apply(&mut command);
        }
        let mut shell =
            command.spawn().with_context(|| format!("cannot start {}", launch.binary.display()))?;
        let mut line = String::new();
        if let Some(stdout) = shell.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).context("the supervising shell says nothing")?;
        }
        let pid = line.trim().parse().context("the supervising shell did not say a pid")?;
        let tether = shell.stdin.take();
        Ok(Self { launch, shell, tether, pid })
    }

    /// The server's own process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.shell.try_wait(), Ok(None))
    }

    /// Sends a signal to the server itself, if it still runs.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        // The shell's own `kill`: a machine need not have the program.
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "kill", signal.name()])
            .arg(self.pid.to_string())
            .stderr(Stdio::null())
            .status()
            .context("cannot run `kill`")?;
        if !sent.success() && self.is_running() {
            bail!("cannot send {} to process {}", signal.name(), self.pid);
        }
        Ok(())
    }

    /// Waits until the server has ended, at most `limit`. Returns whether it has.
    pub async fn ended(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_running() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    /// Stops the server in its own way, and waits until it has ended.
    pub async fn stop(&mut self) {
        self.tether = None;
        let patience = self.launch.grace + Duration::from_secs(5);
        self.ended(patience).await;
    }

    /// Starts the server again, just as before; one that still runs is killed first.
    ///
    /// # Errors
    /// When it does not end, or cannot be started.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::Kill)?;
        if !self.ended(Duration::from_secs(5)).await {
            bail!("process {} does not end", self.pid);
        }
        *self = Self::start(self.launch.clone())?;
        Ok(())
    }

    /// Tries `probe` until it succeeds.
    ///
    /// # Errors
    /// When the server ends or `limit` passes before; the message shows the end of its log.
    pub async fn ready<F>(&mut self, limit: Duration, mut probe: impl FnMut() -> F) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<()>>,
    {
        let deadline = Instant::now() + limit;
        loop {
            let Err(error) = probe().await else { return Ok(()) };
            let problem = if !self.is_running() {
                "ended at once"
            } else if Instant::now() >= deadline {
                "is not ready in time"
            } else {
                tokio::time::sleep(POLL).await;
                continue;
            };
            bail!(
                "{} {problem} ({error:#}); its log ends:\n{}",
                self.launch.binary.display(),
                self.log_tail()
            );
        }
    }

    fn log_tail(&self) -> String {
        tail(&self.launch.log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.tether = None;
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}
