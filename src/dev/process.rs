//! One server as a child process that never outlives us.
//!
//! A small shell stands between (`supervise.sh`): it starts the server, tells its pid, and waits for its standard
//! input, a pipe from us, to close. The kernel closes that pipe however we end, `kill -9` included. (Linux' own
//! `PR_SET_PDEATHSIG` fires when the spawning *thread* ends, which in a thread pool is any time.)

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::Instant;

use super::account::Account;
use super::state;

const SUPERVISE: &str = include_str!("supervise.sh");
const POLL: Duration = Duration::from_millis(20);
const KILLED_WITHIN: Duration = Duration::from_secs(5);
const LOG_TAIL_LINES: usize = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Term,
    Int,
    Quit,
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
            Self::Quit => "QUIT",
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
    /// Its output is appended here, over restarts.
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
    /// Closing it, as dropping does, stops the server.
    tether: Option<ChildStdin>,
    pid: u32,
}

impl Process {
    /// Starts the server, with a new log. Blocks for the few milliseconds that a shell takes to start.
    ///
    /// # Errors
    /// When the shell cannot be started. A server that fails at once is seen by [`Process::is_running`].
    pub fn start(launch: Launch) -> anyhow::Result<Self> {
        state::remove(&launch.log)?;
        Self::spawn(launch)
    }

    fn spawn(launch: Launch) -> anyhow::Result<Self> {
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
        if !send(signal, &self.pid.to_string())? && self.is_running() {
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
        let patience = self.launch.grace + KILLED_WITHIN;
        self.ended(patience).await;
    }

    /// Starts the server again, just as before; one that still runs is killed first.
    ///
    /// # Errors
    /// When it does not end, or cannot be started.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.restart_with(&[]).await
    }

    /// As [`Process::restart`], with more environment for this one start.
    ///
    /// # Errors
    /// When it does not end, or cannot be started.
    pub async fn restart_with(&mut self, env: &[(String, String)]) -> anyhow::Result<()> {
        self.signal(Signal::Kill)?;
        if matches!(self.shell.try_wait(), Ok(Some(status)) if status.signal().is_some()) {
            // The shell itself was killed: the server lives on without it, in the shell's process group.
            send(Signal::Kill, &format!("-{}", self.shell.id()))?;
        }
        if !self.ended(KILLED_WITHIN).await {
            bail!("process {} does not end", self.pid);
        }
        let launch = self.launch.clone();
        let mut this_time = launch.clone();
        this_time.env.extend_from_slice(env);
        *self = Self::spawn(this_time)?;
        self.launch = launch;
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
                tail(&self.launch.log)
            );
        }
    }
}

/// The processes that this one has started, and that still run.
///
/// # Errors
/// When the system does not tell (it does below `/proc`).
pub(super) fn children_of(parent: u32) -> anyhow::Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc").context("cannot list the processes")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // "pid (name) state ppid …", where the name may hold anything.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        if after_name.split_whitespace().nth(1) == Some(&parent.to_string()) {
            children.push(pid);
        }
    }
    Ok(children)
}

/// Returns whether the signal was sent: no, if there is no such process any more.
///
/// # Errors
/// When the shell cannot be run.
pub fn send(signal: Signal, target: &str) -> anyhow::Result<bool> {
    // The shell's own `kill`: a machine need not have the program.
    let sent = Command::new("sh")
        .args(["-c", "kill -s \"$1\" -- \"$2\"", "kill", signal.name(), target])
        .stderr(Stdio::null())
        .status()
        .context("cannot run `kill`")?;
    Ok(sent.success())
}

/// The end of a server's log.
fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::redis::Redis;
    use crate::dev::state::StateDir;

    const SOON: Duration = Duration::from_secs(5);

    fn launch(state: &StateDir, script: &str) -> Launch {
        Launch {
            binary: "sh".into(),
            args: ["-c", script].map(Into::into).to_vec(),
            env: Vec::new(),
            directory: state.path().to_path_buf(),
            log: state.path().join("test.log"),
            account: state.account(),
            stop_signal: Signal::Term,
            grace: Duration::from_secs(1),
        }
    }

    async fn is_gone(pid: u32) -> bool {
        let deadline = Instant::now() + SOON;
        while send(Signal::Cont, &pid.to_string()).unwrap() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    #[tokio::test]
    async fn a_server_ends_when_its_owner_is_gone() {
        let state = StateDir::scratch().unwrap();
        let process = Process::start(launch(&state, "sleep 600; :")).unwrap();
        let pid = process.pid();

        drop(process);

        assert!(is_gone(pid).await);
    }

    #[tokio::test]
    async fn a_server_that_ignores_its_stop_signal_or_is_frozen_is_killed() {
        let state = StateDir::scratch().unwrap();
        let deaf = "trap '' TERM; while :; do sleep 1; done";
        let mut deaf = Process::start(launch(&state, deaf)).unwrap();
        let mut frozen = Process::start(launch(&state, "exec sleep 600")).unwrap();
        frozen.signal(Signal::Stop).unwrap();

        tokio::join!(deaf.stop(), frozen.stop());

        assert!(!deaf.is_running() && is_gone(deaf.pid()).await);
        assert!(!frozen.is_running() && is_gone(frozen.pid()).await);
    }

    #[tokio::test]
    async fn a_killed_server_comes_back_on_the_same_port() {
        let state = StateDir::scratch().unwrap();
        let mut redis = Redis::start(&state, None).await.unwrap();
        let (pid, url) = (redis.process.pid(), redis.url());

        redis.process.signal(Signal::Kill).unwrap();
        assert!(redis.process.ended(SOON).await);
        redis.restart().await.unwrap();

        assert_ne!(redis.process.pid(), pid);
        assert_eq!(redis.url(), url);
    }

    #[tokio::test]
    async fn a_server_whose_supervisor_was_killed_does_not_keep_the_port() {
        let state = StateDir::scratch().unwrap();
        let mut redis = Redis::start(&state, None).await.unwrap();
        let (pid, shell) = (redis.process.pid(), redis.process.shell.id().to_string());

        send(Signal::Kill, &shell).unwrap();
        assert!(redis.process.ended(SOON).await);
        redis.restart().await.unwrap();

        assert!(is_gone(pid).await);
    }

    #[tokio::test]
    async fn a_server_that_does_not_start_shows_its_log() {
        let state = StateDir::scratch().unwrap();
        let mut process = Process::start(launch(&state, "echo no such luck; exit 1")).unwrap();

        let error = process.ready(SOON, || async { bail!("not yet") }).await.unwrap_err();

        assert!(error.to_string().contains("no such luck"), "{error}");
    }
}
