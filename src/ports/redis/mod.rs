//! The connection to Redis that the adapters share.
//!
//! Commands of all tasks are pipelined over one connection. Every call has a deadline, and after a failure
//! a breaker refuses calls for a moment, so that a Redis that hangs costs its callers nothing. Work in bulk
//! has connections of its own, from a small pool: on the shared one it would hold up every event behind it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use bb8_redis::{RedisConnectionManager, bb8};
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo as _, RedisError};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use socket2::TcpKeepalive;

/// Begins every script that says who is connected.
pub const BELIEF: &str = include_str!("belief.lua");

/// Connections for work in bulk.
const ASIDE_MAX: u32 = 2;
/// Bulk work is rare: what it leaves open is closed again.
const ASIDE_IDLE: Duration = Duration::from_secs(60);
/// A Redis that acknowledges nothing this long is gone, whatever TCP believes: without it, a host that
/// vanished would hold our connections for a quarter of an hour.
const TCP_DEAD_AFTER: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `redis://[user:password@]host:port/db`, or `rediss://` for TLS.
    pub url: SecretString,
    /// Begins every key and channel, so that several clusters can share one Redis.
    pub key_prefix: String,
    /// How long one command may take.
    pub command_timeout_ms: u64,
    /// How long connecting may take.
    pub connect_timeout_ms: u64,
    /// After a failed command, how long others fail at once instead of waiting.
    pub breaker_ms: u64,
    /// How long a node's presence stays valid without a sign of life.
    pub lease_ms: u64,
    /// After Redis came back empty or hung, or a node was lost, how long "nobody is connected" is not believed.
    pub warmup_ms: u64,
}

impl Config {
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.key_prefix.is_empty() || self.key_prefix.contains([':', ' ', '\n']) {
            bail!("redis.key_prefix must be a word without colons and spaces");
        }
        if self.command_timeout_ms == 0 || self.connect_timeout_ms == 0 {
            bail!("redis.command_timeout_ms and redis.connect_timeout_ms must be at least 1");
        }
        if self.lease_ms < 3_000 {
            bail!("redis.lease_ms must be at least 3000: a lease is renewed once a second, and may miss one");
        }
        if self.warmup_ms < 2_000 {
            bail!("redis.warmup_ms must be at least 2000: the nodes need it to say again who is connected");
        }
        Ok(())
    }

    /// How long the nodes' signs of life may stop until Redis counts as having hung.
    #[must_use]
    pub fn stall_ms(&self) -> u64 {
        self.lease_ms / 2
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RedisFailure {
    #[error("no answer within the deadline")]
    Deadline,
    #[error("not asked, because it failed a moment ago")]
    BreakerOpen,
    #[error("no connection was free within the deadline")]
    PoolExhausted,
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// Cheap to clone; all clones share one connection and one breaker.
#[derive(Clone)]
pub struct RedisLink {
    client: Client,
    commands: ConnectionManager,
    aside: bb8::Pool<RedisConnectionManager>,
    config: Arc<Config>,
    breaker: Arc<Breaker>,
}

impl RedisLink {
    /// Does not connect yet: a node starts while Redis is away.
    ///
    /// # Errors
    /// When the URL cannot be parsed.
    pub fn new(config: Config) -> Result<Self, RedisError> {
        let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
        let command_timeout = Duration::from_millis(config.command_timeout_ms);
        let info = config.url.expose_secret().into_connection_info()?.set_tcp_settings(tcp_settings());
        let client = Client::open(info.clone())?;
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(connect_timeout))
            .set_response_timeout(Some(command_timeout))
            .set_number_of_retries(0)
            .set_pipeline_buffer_size(1024);
        let commands = ConnectionManager::new_lazy_with_config(client.clone(), settings)?;
        let aside = bb8::Pool::builder()
            .max_size(ASIDE_MAX)
            .connection_timeout(connect_timeout)
            .idle_timeout(Some(ASIDE_IDLE))
            .build_unchecked(RedisConnectionManager::new(info)?);
        Ok(Self { client, commands, aside, config: Arc::new(config), breaker: Arc::default() })
    }

    /// A link for tests, patient with a busy machine.
    #[cfg(test)]
    pub fn for_test(url: &str, key_prefix: &str) -> Self {
        Self::new(Config {
            url: url.to_owned().into(),
            key_prefix: key_prefix.to_owned(),
            command_timeout_ms: 5_000,
            connect_timeout_ms: 5_000,
            breaker_ms: 0,
            lease_ms: 60_000,
            warmup_ms: 0,
        })
        .expect("a test passes a valid URL")
    }

    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// When some node was seen last, and since when there was no gap.
    #[must_use]
    pub fn pulse_key(&self) -> String {
        format!("{}:pulse", self.config.key_prefix)
    }

    /// `prefix:kind:id`
    pub fn key(&self, kind: &str, id: impl std::fmt::Display) -> String {
        format!("{}:{kind}:{id}", self.config.key_prefix)
    }

    /// Whether the last command succeeded.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.breaker.is_open()
    }

    /// Runs `command` within the deadline, unless the breaker is open.
    ///
    /// # Errors
    /// [`RedisFailure`]; after a deadline it is unknown whether the command took effect.
    pub async fn run<T, F>(
        &self,
        name: &'static str,
        command: impl FnOnce(ConnectionManager) -> F,
    ) -> Result<T, RedisFailure>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        if self.breaker.is_open() {
            return Err(RedisFailure::BreakerOpen);
        }
        self.probe(name, command).await
    }

    /// Runs a command in bulk on a connection beside the shared one, unless the breaker is open. Its failure
    /// says nothing about the shared connection, and so leaves the breaker alone.
    ///
    /// # Errors
    /// [`RedisFailure`]; after a deadline it is unknown whether the command took effect.
    pub async fn run_aside<T, F>(
        &self,
        name: &'static str,
        command: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, RedisFailure>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        if self.breaker.is_open() {
            return Err(RedisFailure::BreakerOpen);
        }
        let started = Instant::now();
        let result = match self.aside.get().await {
            Ok(connection) => self.within_deadline(command(connection.clone())).await,
            Err(bb8::RunError::User(error)) => Err(RedisFailure::Redis(error)),
            Err(bb8::RunError::TimedOut) => Err(RedisFailure::PoolExhausted),
        };
        observe(name, &result, started);
        result
    }

    /// As [`RedisLink::run`], but asks even while the breaker is open; a success closes it.
    ///
    /// # Errors
    /// [`RedisFailure`]
    pub async fn probe<T, F>(
        &self,
        name: &'static str,
        command: impl FnOnce(ConnectionManager) -> F,
    ) -> Result<T, RedisFailure>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let started = Instant::now();
        let result = self.within_deadline(command(self.commands.clone())).await;
        observe(name, &result, started);
        self.breaker.record(result.is_ok(), Duration::from_millis(self.config.breaker_ms));
        result
    }

    async fn within_deadline<T>(
        &self,
        command: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisFailure> {
        let deadline = Duration::from_millis(self.config.command_timeout_ms);
        match tokio::time::timeout(deadline, command).await {
            Ok(Ok(value)) => Ok(value),
            // The connection has the same deadline, and may be the first to notice.
            Ok(Err(error)) if error.is_timeout() => Err(RedisFailure::Deadline),
            Ok(Err(error)) => Err(RedisFailure::Redis(error)),
            Err(_) => Err(RedisFailure::Deadline),
        }
    }
}

fn observe<T>(name: &'static str, result: &Result<T, RedisFailure>, started: Instant) {
    let outcome = match result {
        Ok(_) => "ok",
        Err(RedisFailure::Deadline) => "deadline",
        Err(_) => "error",
    };
    metrics::counter!("fanlight_redis_commands_total", "command" => name, "outcome" => outcome).increment(1);
    metrics::histogram!("fanlight_redis_command_duration_seconds", "command" => name)
        .record(started.elapsed());
}

fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(TCP_DEAD_AFTER).with_interval(TCP_DEAD_AFTER / 5);
    TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(TCP_DEAD_AFTER)
}

/// Open until a moment in time, counted in milliseconds since the first use.
#[derive(Default)]
struct Breaker {
    open_until: AtomicU64,
    epoch: std::sync::OnceLock<Instant>,
}

impl Breaker {
    fn now(&self) -> u64 {
        let epoch = self.epoch.get_or_init(Instant::now);
        u64::try_from(epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_open(&self) -> bool {
        self.open_until.load(Ordering::Relaxed) > self.now()
    }

    fn record(&self, succeeded: bool, rest: Duration) {
        let rest = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX);
        let until = if succeeded { 0 } else { self.now().saturating_add(rest) };
        self.open_until.store(until, Ordering::Relaxed);
    }
}
