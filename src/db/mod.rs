//! The connection to Postgres: where the truth is.
//!
//! Every statement has a deadline on the server's side, so that a hung query frees its connection. A server
//! that hangs itself keeps no deadline: whoever is not under a request's own waits [`within_deadline`].

use std::future::Future;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use sqlx::Connection as _;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

mod watch;

pub use sqlx::postgres::{PgConnection, PgPool};
pub use watch::{EpochId, Lineage, Watch};

/// A connection that answered so lately is taken for alive. It was tested when it was given back, too.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// A connection on which a question was left unanswered has this long to prove itself while the server does not
/// answer others either. The pool's own test waits until TCP gives up, and holds a place all the while.
const PROOF_DEADLINE: Duration = Duration::from_secs(2);

/// No background job waits longer for an answer, whatever became of the server or of the way to it.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// No question that is repeated at once does: a connection that is dead without a word must not hold it up for long.
const REPEATED_DEADLINE: Duration = Duration::from_secs(3);

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `postgres://user:password@host:port/database`
    pub url: SecretString,
    /// Connections that one node may hold for requests and sockets.
    pub connections_max: u32,
    /// Connections beside these, for what runs in the background.
    pub background_connections_max: u32,
    /// How long a request waits for a free connection before it is answered 503.
    pub acquire_timeout_ms: u64,
    /// How long the server works on one statement before it gives up.
    pub statement_timeout_ms: u64,
}

impl Config {
    /// All connections that a node may hold.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections_max as usize + self.background_connections_max as usize
    }

    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.connections_max == 0 || self.background_connections_max == 0 {
            bail!("postgres.connections_max and postgres.background_connections_max must be at least 1");
        }
        if self.acquire_timeout_ms == 0 {
            bail!("postgres.acquire_timeout_ms must be at least 1");
        }
        if self.statement_timeout_ms == 0 {
            bail!("postgres.statement_timeout_ms must be at least 1: 0 means no limit to Postgres");
        }
        let longest = self.acquire_timeout_ms.saturating_add(self.statement_timeout_ms);
        ensure!(
            u128::from(longest) < ANSWER_DEADLINE.as_millis(),
            "postgres.acquire_timeout_ms and postgres.statement_timeout_ms together must be less than {}: a background job gives up then",
            ANSWER_DEADLINE.as_millis()
        );
        Ok(())
    }
}

/// Opens a pool for maintenance: of any server, with any schema.
///
/// # Errors
/// When the URL cannot be parsed.
pub fn pool(config: &Config) -> Result<PgPool, sqlx::Error> {
    Ok(pool_options(config, config.connections_max).connect_lazy_with(connect_options(config)?))
}

/// The pools of a node: however much there is to push or to clean up, nobody who waits for an answer stands behind it.
#[derive(Clone)]
pub struct Pools {
    /// For requests and sockets.
    pub requests: PgPool,
    /// For what nobody waits for.
    pub background: PgPool,
}

impl Pools {
    /// Opens them. Connects lazily: a node starts, and says so in `/readyz`, while Postgres is away.
    /// Refuses a server that only follows another one, and tells `watch` of every other.
    ///
    /// # Errors
    /// When the URL cannot be parsed.
    pub fn open(config: &Config, watch: &Arc<Watch>) -> Result<Self, sqlx::Error> {
        Ok(Self {
            requests: watched_pool(config, config.connections_max, watch)?,
            background: watched_pool(config, config.background_connections_max, watch)?,
        })
    }
}

fn watched_pool(config: &Config, connections_max: u32, watch: &Arc<Watch>) -> Result<PgPool, sqlx::Error> {
    let (connected, acquired, released) = (Arc::clone(watch), Arc::clone(watch), Arc::clone(watch));
    Ok(pool_options(config, connections_max)
        .before_acquire(move |connection, meta| {
            let outdated = acquired.is_outdated(meta.age);
            Box::pin(async move {
                if !outdated && meta.idle_for > TRUSTED_FOR {
                    connection.ping().await?;
                }
                Ok(!outdated)
            })
        })
        .after_connect(move |connection, _| {
            let watch = Arc::clone(&connected);
            Box::pin(async move { watch.enter(connection).await })
        })
        .after_release(move |connection, _| {
            let answers = released.answers();
            Box::pin(async move {
                if !answers {
                    prove(connection).await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(connect_options(config)?))
}

fn connect_options(config: &Config) -> Result<PgConnectOptions, sqlx::Error> {
    Ok(PgConnectOptions::from_str(config.url.expose_secret())?.application_name("fanlight").options([
        ("statement_timeout", config.statement_timeout_ms),
        // What a node has locked that froze in the middle of a transaction.
        ("idle_in_transaction_session_timeout", 2 * config.statement_timeout_ms),
    ]))
}

fn pool_options(config: &Config, connections_max: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(Duration::from_millis(config.acquire_timeout_ms))
        // The pool's own test is a round trip before every statement.
        .test_before_acquire(false)
}

async fn prove(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    within(PROOF_DEADLINE, connection.ping()).await
}

async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let asked = Instant::now();
    let answer = tokio::time::timeout(deadline, work).await;
    let outcome = match &answer {
        Ok(Ok(_)) => "ok",
        Ok(Err(_)) => "error",
        Err(_) => "deadline",
    };
    metrics::histogram!("fanlight_database_work_duration_seconds", "outcome" => outcome)
        .record(asked.elapsed());
    answer.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// Brings the schema up to date. Safe to run from several nodes at once: the migrator takes a lock.
///
/// # Errors
/// When Postgres is away, or a migration that was applied differs from ours.
pub async fn migrate(pool: &PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    MIGRATIONS.run(pool).await
}

/// Waits for an answer of Postgres, but not for ever: a server that hangs, or whose machine is gone, says
/// nothing at all. What was asked may still take effect.
///
/// # Errors
/// That of `work`, or that it did not answer in time.
pub async fn within_deadline<T>(
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    within(ANSWER_DEADLINE, work).await
}

/// As [`within_deadline`], for work that the caller repeats soon, on another connection, and that may take effect
/// twice.
///
/// # Errors
/// That of `work`, or that it did not answer in time.
pub async fn soon_or_again<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    within(REPEATED_DEADLINE, work).await
}

/// Whether the error means "Postgres cannot answer now", and the same call may succeed later.
#[must_use]
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // Classes 08 connection, 40 rollback, 53 resources, 57 operator intervention (PostgreSQL, appendix A).
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class))),
        _ => false,
    }
}

/// The name of the constraint that the statement violated, if that is why it failed.
#[must_use]
pub fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(|error| error.constraint())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::testing;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn signal(name: &str, pid: i32) {
        let sent = std::process::Command::new("kill").args(["-s", name, &pid.to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// As of a host that vanished: nothing answers, and TCP does not mind.
    #[tokio::test]
    async fn a_question_that_nobody_answers_does_not_hold_its_place_in_the_pool() {
        let config = Config {
            url: testing::database_url().await.into(),
            connections_max: 2,
            background_connections_max: 1,
            acquire_timeout_ms: 1_000,
            statement_timeout_ms: 1_000,
        };
        let watch = Arc::new(Watch::default());
        let pool = watched_pool(&config, config.connections_max, &watch).unwrap();
        let mut connection = pool.acquire().await.unwrap();
        let pid: i32 =
            sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *connection).await.unwrap();
        signal("STOP", pid);
        let question = sqlx::query("SELECT 1").execute(&mut *connection);
        let unanswered = tokio::time::timeout(Duration::from_millis(500), question).await.is_err();
        // As the health check does when its own question is not answered.
        watch.set_answers(false);
        drop(connection);
        let freed = tokio::time::timeout(PATIENCE, async {
            while pool.size() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let freed = freed.await.is_ok();
        signal("CONT", pid);
        assert!(unanswered && freed, "{unanswered} {freed}");
    }
}
