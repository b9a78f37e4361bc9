//! Real stores for tests: one private Postgres and one private Redis per test process.
//!
//! Started when the first test asks, gone when the process is, however it ends.

use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::OnceCell;

use super::postgres::{Durability, Postgres};
use super::redis::Redis;
use super::state::StateDir;
use crate::db;
use crate::domain::ids::UserId;

const TEMPLATE: &str = "fanlight_template";
/// Enough for a test with concurrent requests; small, because many tests share the server's connections.
const CONNECTIONS_MAX: u32 = 8;

static POSTGRES: OnceCell<(Postgres, StateDir)> = OnceCell::const_new();
static REDIS: OnceCell<(Redis, StateDir)> = OnceCell::const_new();
static DATABASES: AtomicU64 = AtomicU64::new(0);

/// A pool on a database of its own, with all migrations run.
///
/// # Panics
/// When Postgres is not installed or does not start.
pub async fn database() -> PgPool {
    let url = database_url().await;
    PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .connect(&url)
        .await
        .expect("a database that was just made accepts connections")
}

/// Somebody who has an account, and nothing else.
///
/// # Panics
/// When Postgres refuses.
pub async fn user(pool: &PgPool) -> UserId {
    let user = UserId::generate();
    sqlx::query("INSERT INTO users (id, email, password_hash, created_at, updated_at) VALUES ($1, $2, '', now(), now())")
        .bind(user.0)
        .bind(format!("{user}@example.com"))
        .execute(pool)
        .await
        .expect("an account can be made");
    user
}

/// How many transactions of this database wait for the locks of others.
///
/// # Panics
/// When Postgres refuses.
pub async fn blocked(pool: &PgPool) -> i64 {
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    sqlx::query_scalar(waiting).fetch_one(pool).await.expect("the activity can be read")
}

/// Makes all events as old as if they had been made so much earlier, ids included. None may have been pushed.
///
/// # Panics
/// When Postgres refuses.
pub async fn back_date_events(pool: &PgPool, hours: i32) {
    sqlx::query(
        "UPDATE events SET created_at = made_at,
                id = overlay(id::text PLACING left(first_uuid_at(made_at)::text, 13) FROM 1)::uuid
         FROM (SELECT id AS event, created_at - make_interval(hours => $1) AS made_at FROM events) AS older
         WHERE id = event",
    )
    .bind(hours)
    .execute(pool)
    .await
    .expect("the events can be made older");
}

/// The URL of a database of its own, with all migrations run.
///
/// # Panics
/// When Postgres is not installed or does not start.
pub async fn database_url() -> String {
    let (postgres, _) = POSTGRES.get_or_init(start_postgres).await;
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    postgres.create_database(&name, TEMPLATE).await.expect("a migrated database can be copied");
    postgres.url(&name)
}

/// The URL of a Redis that all tests of this process share: use keys and channels of your own.
///
/// # Panics
/// When Redis is not installed or does not start.
pub async fn redis_url() -> String {
    let (redis, _) = REDIS.get_or_init(start_redis).await;
    redis.url()
}

async fn start_postgres() -> (Postgres, StateDir) {
    let state = StateDir::scratch().expect("a scratch directory can be made");
    let postgres = Postgres::start(&state, None, Durability::Fast).await.expect("Postgres starts");
    postgres.create_database(TEMPLATE, "template0").await.expect("a database can be made");
    let pool = PgPool::connect(&postgres.url(TEMPLATE)).await.expect("the database accepts connections");
    db::migrate(&pool).await.expect("the migrations run");
    // A database can be copied only while nobody is connected to it.
    pool.close().await;
    (postgres, state)
}

async fn start_redis() -> (Redis, StateDir) {
    let state = StateDir::scratch().expect("a scratch directory can be made");
    let redis = Redis::start(&state, None).await.expect("Redis starts");
    (redis, state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_database_is_migrated_and_separate() {
        let (one, other) = tokio::join!(database(), database());
        sqlx::query("CREATE TABLE only_here ()").execute(&one).await.unwrap();

        let seen: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE tablename IN ('only_here', 'users')")
                .fetch_one(&other)
                .await
                .unwrap();

        assert_eq!(seen, 1);
    }

    #[tokio::test]
    async fn redis_answers() {
        let client = ::redis::Client::open(redis_url().await).unwrap();
        let mut connection = super::super::redis::connect(&client).await.unwrap();

        let answer: String = ::redis::cmd("PING").query_async(&mut connection).await.unwrap();

        assert_eq!(answer, "PONG");
    }
}
