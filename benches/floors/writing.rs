//! The least that writing a message can cost: a counter and a row in one statement that commits, and one `PUBLISH`.

use fanlight::dev::cluster::Cluster;
use futures_util::StreamExt as _;
use redis::Client;
use redis::aio::MultiplexedConnection;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::task::JoinSet;
use uuid::Uuid;

const CHANNEL: &str = "floor-rooms";

/// Rooms that have only a counter, and somebody who listens to all of them.
pub struct Rooms {
    pub ids: Vec<Uuid>,
    postgres: String,
    redis: Client,
    _listener: JoinSet<()>,
}

impl Rooms {
    pub async fn open(cluster: &Cluster, pool: &PgPool, count: usize) -> anyhow::Result<Self> {
        for table in [
            "CREATE TABLE floor_rooms (id uuid PRIMARY KEY, last_seq bigint NOT NULL)",
            "CREATE TABLE floor_messages (room uuid NOT NULL, seq bigint NOT NULL, content text NOT NULL,
                                          created_at timestamptz NOT NULL, PRIMARY KEY (room, seq))",
        ] {
            sqlx::query(table).execute(pool).await?;
        }
        let ids: Vec<Uuid> = std::iter::repeat_with(Uuid::now_v7).take(count).collect();
        sqlx::query("INSERT INTO floor_rooms SELECT id, 0 FROM unnest($1::uuid[]) AS id")
            .bind(&ids)
            .execute(pool)
            .await?;
        let redis = Client::open(cluster.redis.url())?;
        let mut subscription = redis.get_async_pubsub().await?;
        subscription.subscribe(CHANNEL).await?;
        let mut listener = JoinSet::new();
        listener.spawn(async move {
            let mut messages = subscription.into_on_message();
            while messages.next().await.is_some() {}
        });
        Ok(Self { ids, postgres: cluster.postgres_url(), redis, _listener: listener })
    }

    pub async fn writer(&self) -> anyhow::Result<Writer> {
        Ok(Writer {
            postgres: PgConnection::connect(&self.postgres).await?,
            redis: self.redis.get_multiplexed_async_connection().await?,
        })
    }
}

pub struct Writer {
    postgres: PgConnection,
    redis: MultiplexedConnection,
}

impl Writer {
    /// One commit and one message.
    pub async fn write(&mut self, room: Uuid, content: &str) -> anyhow::Result<()> {
        sqlx::query(
            "WITH placed AS (UPDATE floor_rooms SET last_seq = last_seq + 1 WHERE id = $1 RETURNING last_seq)
             INSERT INTO floor_messages SELECT $1, last_seq, $2, now() FROM placed",
        )
        .bind(room)
        .bind(content)
        .execute(&mut self.postgres)
        .await?;
        let mut publish = redis::cmd("PUBLISH");
        Ok(publish.arg(CHANNEL).arg(content).query_async(&mut self.redis).await?)
    }
}
