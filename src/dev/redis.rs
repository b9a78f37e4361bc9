//! A private Redis (or Valkey). Keeps nothing on disk: what it knows may always be lost.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::bail;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::binaries::{self, Program};
use super::ports;
use super::process::{Launch, Process, Signal};
use super::state::StateDir;

const READY_WITHIN: Duration = Duration::from_secs(30);
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// As long as a test waits for anything; by itself a connection waits for half a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A connection that is patient with a busy machine, for questions beside a cluster's own.
///
/// # Errors
/// When Redis does not answer.
pub async fn connect(client: &redis::Client) -> redis::RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_WITHIN))
        .set_response_timeout(Some(ANSWER_WITHIN));
    client.get_multiplexed_async_connection_with_config(&config).await
}

pub struct Redis {
    pub process: Process,
    port: u16,
}

impl Redis {
    /// Starts Redis on `port` or a free one.
    ///
    /// # Errors
    /// When Redis is not installed or does not start.
    pub async fn start(state: &StateDir, port: Option<u16>) -> anyhow::Result<Self> {
        let port = port.map_or_else(ports::free, Ok)?;
        Self::launch(state, "redis", port, &["--save", "", "--appendonly", "no"]).await
    }

    /// Starts a server of this name with more arguments.
    ///
    /// # Errors
    /// When Redis is not installed or does not start.
    pub async fn launch(state: &StateDir, name: &str, port: u16, args: &[&str]) -> anyhow::Result<Self> {
        let text = port.to_string();
        let mut all: Vec<OsString> = args.iter().map(Into::into).collect();
        all.extend(["--port", &text, "--bind", "127.0.0.1"].map(Into::into));
        let process = Process::start(Launch {
            binary: binaries::find(Program::Redis)?,
            args: all,
            env: Vec::new(),
            directory: state.folder(name)?,
            log: state.path().join(format!("{name}.log")),
            account: state.account(),
            stop_signal: Signal::Term,
            grace: STOP_WITHIN,
        })?;
        let mut redis = Self { process, port };
        redis.ready().await?;
        Ok(redis)
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let port = self.port;
        self.process.ready(READY_WITHIN, || ping(port)).await
    }

    /// Starts it again on its port and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.restart().await?;
        self.ready().await
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
}

async fn ping(port: u16) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await?;
    // One with a password answers too.
    if &answer != b"+PONG\r\n" && &answer != b"-NOAUTH" {
        bail!("Redis answered {}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}
