//! A private Postgres.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use sqlx::{Connection as _, PgConnection};

use super::binaries::{self, Program};
use super::ports;
use super::process::{self, Launch, Process, Signal};
use super::state::StateDir;
use crate::domain::random;

const USER: &str = "fanlight";
const READY_WITHIN: Duration = Duration::from_secs(30);
const STOP_WITHIN: Duration = Duration::from_secs(10);
const CONNECTIONS_MAX: u32 = 200;

/// How the data is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As in production.
    Durable,
    /// For tests: survives a crash of Postgres, not one of the machine, and is faster.
    Fast,
}

pub struct Postgres {
    pub process: Process,
    port: u16,
    password: String,
}

impl Postgres {
    /// Starts Postgres in the state directory, on `port` or a free one. Makes the database at the first start.
    ///
    /// # Errors
    /// When Postgres is not installed or does not start.
    pub async fn start(state: &StateDir, port: Option<u16>, durability: Durability) -> anyhow::Result<Self> {
        let data = state.folder("postgres")?;
        password(state)?;
        if !data.join("PG_VERSION").exists() {
            initialise(state, &data, durability)?;
        }
        let port = port.map_or_else(ports::free, Ok)?;
        Self::launch(state, "postgres", port, durability).await
    }

    /// Copies the data as it is now, to be another server's: [`Postgres::stand_in`].
    ///
    /// # Errors
    /// When the copy cannot be made.
    pub async fn back_up(&self, state: &StateDir, name: &str) -> anyhow::Result<()> {
        let data = state.folder(name)?;
        // Of the same version; what is in `PATH` may be a link to it.
        let program = binaries::find(Program::Postgres)?.canonicalize()?.with_file_name("pg_basebackup");
        let mut command = Command::new(program);
        command
            .args(["--no-sync", "--checkpoint=fast", "--wal-method=fetch", "-D"])
            .arg(&data)
            .arg("-d")
            .arg(self.url("postgres"))
            .current_dir(&data)
            .stdin(Stdio::null());
        if let Some(account) = state.account() {
            account.apply(&mut command);
        }
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        if !output.status.success() {
            bail!("pg_basebackup failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Starts a copy of the data as a standby that waits to be promoted, on `port` or on this server's, which must be
    /// free then. What was committed after the copy was made is lost.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn stand_in(&self, state: &StateDir, name: &str, port: Option<u16>) -> anyhow::Result<Self> {
        let signal = state.folder(name)?.join("standby.signal");
        std::fs::write(&signal, "")?;
        if let Some(account) = state.account() {
            account.own(&signal)?;
        }
        Self::launch(state, name, port.unwrap_or(self.port), Durability::Fast).await
    }

    async fn launch(state: &StateDir, name: &str, port: u16, durability: Durability) -> anyhow::Result<Self> {
        let (data, password) = (state.folder(name)?, password(state)?);
        forget_dead_server(&data)?;
        let mut settings = vec![
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            // Over TCP only: a socket's path may be too long (107 bytes).
            "unix_socket_directories=".to_owned(),
            format!("max_connections={CONNECTIONS_MAX}"),
        ];
        if durability == Durability::Fast {
            // Each commit still reaches the system before it is answered: `crash` may lose none.
            let fast = ["fsync=off", "full_page_writes=off", "autovacuum=off"];
            settings.extend(fast.map(str::to_owned));
        }
        let mut args = vec!["-D".into(), data.clone().into()];
        args.extend(settings.into_iter().flat_map(|setting| ["-c".into(), setting.into()]));
        let process = Process::start(Launch {
            binary: binaries::find(Program::Postgres)?,
            args,
            env: Vec::new(),
            directory: data,
            log: state.path().join(format!("{name}.log")),
            account: state.account(),
            // "Fast shutdown": clients are disconnected, the data is written.
            stop_signal: Signal::Int,
            grace: STOP_WITHIN,
        })?;
        let mut postgres = Self { process, port, password };
        postgres.ready().await?;
        Ok(postgres)
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let url = self.url("postgres");
        self.process
            .ready(READY_WITHIN, || async { Ok(PgConnection::connect(&url).await?.close().await?) })
            .await
    }

    /// Starts it again on its port and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.restart().await?;
        self.ready().await
    }

    /// Ends every process of it at once, without a checkpoint (`pg_ctl stop -m immediate`).
    ///
    /// # Errors
    /// When it does not end.
    pub async fn crash(&mut self) -> anyhow::Result<()> {
        self.process.signal(Signal::Quit)?;
        if !self.process.ended(STOP_WITHIN).await {
            bail!("Postgres does not crash");
        }
        Ok(())
    }

    /// Stops every process of it where it stands, until the answer is dropped. Its connections stay open, and
    /// nothing answers.
    ///
    /// # Errors
    /// When its processes cannot be told.
    pub fn freeze(&self) -> anyhow::Result<Frozen> {
        let postmaster = self.process.pid();
        // First the one that would start others.
        process::send(Signal::Stop, &postmaster.to_string())?;
        let mut frozen = Frozen(vec![postmaster]);
        for child in process::children_of(postmaster)? {
            process::send(Signal::Stop, &child.to_string())?;
            frozen.0.push(child);
        }
        Ok(frozen)
    }

    /// `postgres://…`, with the password.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// Makes a database if there is none of that name; empty, or a copy of `template`.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn create_database(&self, name: &str, template: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await?;
        if !exists {
            // A name cannot be a parameter of this statement; both are ours.
            let statement = format!("CREATE DATABASE \"{name}\" TEMPLATE \"{template}\"");
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await?;
        }
        Ok(connection.close().await?)
    }
}

/// A Postgres that stands still; it goes on when this is dropped.
pub struct Frozen(Vec<u32>);

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            if let Err(error) = process::send(Signal::Cont, &pid.to_string()) {
                tracing::error!(%error, process.pid = pid, "cannot let Postgres go on");
            }
        }
    }
}

/// The password of the one database user, made at the first start. Other users of the machine can reach the port.
fn password(state: &StateDir) -> anyhow::Result<String> {
    let path = password_file(state);
    if !path.exists() {
        super::state::write_secret(&path, &random::secret())?;
        if let Some(account) = state.account() {
            account.own(&path)?;
        }
    }
    std::fs::read_to_string(&path).context("cannot read the password of the private Postgres")
}

fn password_file(state: &StateDir) -> PathBuf {
    state.path().join("postgres.password")
}

fn initialise(state: &StateDir, data: &Path, durability: Durability) -> anyhow::Result<()> {
    let auth = match durability {
        Durability::Durable => "scram-sha-256",
        // Its key derivation takes longer than most tests in a debug build.
        Durability::Fast => "trust",
    };
    let mut command = Command::new(binaries::find(Program::Initdb)?);
    command
        .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth", auth, "--username", USER])
        .arg("--pwfile")
        .arg(password_file(state))
        .arg("-D")
        .arg(data)
        .current_dir(data)
        .stdin(Stdio::null());
    if let Some(account) = state.account() {
        account.apply(&mut command);
    }
    let output = command.output().context("cannot run initdb")?;
    if !output.status.success() {
        bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Removes the pid file of a server that no longer runs. Postgres does so itself, except when that number
/// belongs to another process by now, as after the restart of a container.
fn forget_dead_server(data: &Path) -> anyhow::Result<()> {
    let file = data.join("postmaster.pid");
    let Ok(text) = std::fs::read_to_string(&file) else { return Ok(()) };
    let pid = text.lines().next().unwrap_or_default().trim();
    let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if Path::new("/proc/self").exists() && !command.contains("postgres") {
        std::fs::remove_file(&file)?;
    }
    Ok(())
}
