//! The connection to Redis that the adapters share.
//!
//! Commands of all tasks are pipelined over one connection. Every call has a deadline, and after a failure
//! a breaker refuses calls for a moment, so that a Redis that hangs costs its callers nothing. Work in bulk
//! has connections of its own, from a small pool: on the shared one it would hold up every event behind it.
//! With Sentinel the link follows the master: [`RedisLink::follow`].

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bb8_redis::bb8;
use redis::aio::{ConnectionManager, MultiplexedConnection};
use redis::{ConnectionInfo, RedisError};
use tokio::sync::{Notify, watch};

mod breaker;
mod config;
mod failure;
mod server;
#[cfg(test)]
mod tests;

use breaker::Breaker;
pub use config::Config;
pub use failure::RedisFailure;
use server::{Locator, Server};

/// Begins every script that says who is connected.
pub const BELIEF: &str = include_str!("belief.lua");

/// How often the sentinels are asked while nothing fails: a master that they gave up may not know it yet.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Between two questions while something does.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// The sentinels are asked side by side; one that hangs takes a second and a half.
const LOOK_DEADLINE: Duration = Duration::from_secs(5);

/// Cheap to clone; all clones share one connection and one breaker.
#[derive(Clone)]
pub struct RedisLink(Arc<Inner>);

struct Inner {
    config: Config,
    breaker: Breaker,
    /// The Redis in use; none until the sentinels have named one.
    server: watch::Sender<Option<Server>>,
    /// A command failed: the master may be another one now.
    doubted: Notify,
    /// The server said that it only follows another one.
    demoted: AtomicBool,
}

impl RedisLink {
    /// Does not connect yet: a node starts while Redis is away.
    ///
    /// # Errors
    /// When a URL cannot be parsed.
    pub fn new(config: Config) -> Result<Self, RedisError> {
        let server = match Locator::new(&config)? {
            Locator::Fixed(info) => Some(Server::new(info, &config)?),
            Locator::Sentinels { .. } => None,
        };
        Ok(Self(Arc::new(Inner {
            config,
            breaker: Breaker::default(),
            server: watch::Sender::new(server),
            doubted: Notify::new(),
            demoted: AtomicBool::new(false),
        })))
    }

    /// A link for tests, patient with a busy machine.
    #[cfg(test)]
    pub fn for_test(url: &str, key_prefix: &str) -> Self {
        Self::new(Config {
            url: url.to_owned().into(),
            ca: None,
            ca_file: None,
            sentinels: Vec::new(),
            sentinel_master: String::new(),
            key_prefix: key_prefix.to_owned(),
            command_timeout_ms: 5_000,
            connect_timeout_ms: 5_000,
            breaker_ms: 0,
            lease_ms: 60_000,
            warmup_ms: 0,
        })
        .expect("a test passes a valid URL")
    }

    #[cfg(test)]
    pub fn client(&self) -> redis::Client {
        self.current().expect("a test's server is at a fixed address").client
    }

    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The Redis in use, and that it is another one from now on. A subscription belongs to one of them.
    #[must_use]
    pub fn server(&self) -> watch::Receiver<Option<Server>> {
        self.0.server.subscribe()
    }

    /// Moves to another Redis when the sentinels name another master, and to new connections when the server at
    /// the configured address only follows another one, because the address may lead elsewhere by now. Forever.
    ///
    /// # Errors
    /// When a URL cannot be parsed.
    pub async fn follow(&self) -> Result<Infallible, RedisError> {
        let mut locator = Locator::new(self.config())?;
        loop {
            match tokio::time::timeout(LOOK_DEADLINE, locator.find()).await {
                Ok(Ok(found)) => self.use_server(found)?,
                Ok(Err(error)) => missed_master(&error),
                Err(elapsed) => missed_master(&elapsed),
            }
            tokio::time::sleep(LOOK_PAUSE).await;
            // Cancel-safe: a lost notification is repeated by the timer.
            let _timer = tokio::time::timeout(LOOK_INTERVAL, self.0.doubted.notified()).await;
        }
    }

    fn use_server(&self, found: ConnectionInfo) -> Result<(), RedisError> {
        let demoted = self.0.demoted.swap(false, Ordering::Relaxed);
        let same = self.0.server.borrow().as_ref().is_some_and(|server| server.address() == found.addr());
        if same && !demoted {
            return Ok(());
        }
        tracing::info!(redis.address = %found.addr(), "redis");
        metrics::counter!("fanlight_redis_moves_total").increment(1);
        self.0.server.send_replace(Some(Server::new(found, self.config())?));
        Ok(())
    }

    /// When some node was seen last, and since when there was no gap.
    #[must_use]
    pub fn pulse_key(&self) -> String {
        format!("{}:pulse", self.0.config.key_prefix)
    }

    /// `prefix:kind:id`
    pub fn key(&self, kind: &str, id: impl std::fmt::Display) -> String {
        format!("{}:{kind}:{id}", self.0.config.key_prefix)
    }

    /// Whether the last command succeeded.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.0.breaker.is_open()
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
        if self.0.breaker.is_open() {
            count(name, RedisFailure::BreakerOpen.outcome());
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
        if self.0.breaker.is_open() {
            count(name, RedisFailure::BreakerOpen.outcome());
            return Err(RedisFailure::BreakerOpen);
        }
        let started = Instant::now();
        let result = match self.current() {
            Ok(server) => match server.aside.get().await {
                Ok(connection) => self.within_deadline(command(connection.clone())).await,
                Err(bb8::RunError::User(error)) => Err(RedisFailure::Redis(error)),
                Err(bb8::RunError::TimedOut) => Err(RedisFailure::PoolExhausted),
            },
            Err(failure) => Err(failure),
        };
        self.observe(name, &result, started);
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
        let result = match self.current() {
            Ok(server) => {
                let result = self.within_deadline(command(server.commands.clone())).await;
                if server.is_silent(!matches!(result, Err(RedisFailure::Deadline))) {
                    self.connect_anew(&server)?;
                }
                result
            }
            Err(failure) => Err(failure),
        };
        self.observe(name, &result, started);
        self.0.breaker.record(result.is_ok(), Duration::from_millis(self.0.config.breaker_ms));
        result
    }

    /// Gives up connections on which nothing comes back, unless others are in use already.
    fn connect_anew(&self, silent: &Server) -> Result<(), RedisError> {
        let anew = Server::new(silent.info().clone(), self.config())?;
        let replaced = self.0.server.send_if_modified(|server| {
            let same = server.as_ref().is_some_and(|server| server.is(silent));
            if same {
                *server = Some(anew);
            }
            same
        });
        if replaced {
            metrics::counter!("fanlight_redis_silences_total").increment(1);
            tracing::warn!("redis answers nothing on this connection; trying another one");
        }
        Ok(())
    }

    async fn within_deadline<T>(
        &self,
        command: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisFailure> {
        let deadline = Duration::from_millis(self.0.config.command_timeout_ms);
        match tokio::time::timeout(deadline, command).await {
            Ok(Ok(value)) => Ok(value),
            // The connection has the same deadline, and may be the first to notice.
            Ok(Err(error)) if error.is_timeout() => Err(RedisFailure::Deadline),
            Ok(Err(error)) => Err(RedisFailure::Redis(error)),
            Err(_) => Err(RedisFailure::Deadline),
        }
    }

    fn current(&self) -> Result<Server, RedisFailure> {
        self.0.server.borrow().clone().ok_or(RedisFailure::NoServer)
    }

    fn observe<T>(&self, name: &'static str, result: &Result<T, RedisFailure>, started: Instant) {
        count(name, result.as_ref().map_or_else(RedisFailure::outcome, |_| "ok"));
        metrics::histogram!("fanlight_redis_command_duration_seconds", "command" => name)
            .record(started.elapsed());
        if let Err(failure) = result {
            if failure.is_of_a_follower() {
                self.0.demoted.store(true, Ordering::Relaxed);
            }
            self.0.doubted.notify_one();
        }
    }
}

fn count(command: &'static str, outcome: &'static str) {
    metrics::counter!("fanlight_redis_commands_total", "command" => command, "outcome" => outcome)
        .increment(1);
}

fn missed_master(error: &dyn std::fmt::Display) {
    metrics::counter!("fanlight_redis_lookup_failures_total").increment(1);
    tracing::debug!(%error, "cannot find the redis to use");
}
