//! A cluster of its own for a test that breaks things, with a couple in it.

use std::time::Duration;

use fanlight::dev::cluster::{Cluster, ClusterOptions};
use fanlight::dev::fcm;
use fanlight::dev::process::Signal;
use fanlight::dev::scrape;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::client::{Api, Client};
use crate::socket::Socket;

/// Tests that break things look at how fast they heal, so they do not share the machine.
static TURN: Mutex<()> = Mutex::const_new(());

/// `redis.warmup_ms`
const WARMUP_MS: i64 = 3_000;

/// Any wait for an effect ends here, far beyond every promise that a test measures.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// Nobody is pushed who is there, however late.
pub const PATIENT: [(&str, &str); 1] = [("FANLIGHT__DELIVERY__ACK_DEADLINE_MS", "60000")];

pub struct Stage {
    pub cluster: Cluster,
    pub ann: Client,
    pub bob: Client,
    pub pool: PgPool,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    /// Three nodes and two linked people; what their linking told them is settled, and the push log is empty.
    pub async fn set() -> Self {
        Self::set_on(options(&[])).await
    }

    /// As [`Stage::set`], for tests that nobody is pushed: a busy machine confirms late, too.
    pub async fn set_patient() -> Self {
        Self::set_on(options(&PATIENT)).await
    }

    /// As [`Stage::set`], on another cluster.
    pub async fn set_on(options: ClusterOptions) -> Self {
        let turn = TURN.lock().await;
        let cluster = Cluster::start(options).await.unwrap();
        let ann = Client::register(&cluster.url(), "ann@example.com").await;
        let bob = Client::register(&cluster.url(), "bob@example.com").await;
        let pool = PgPool::connect(&cluster.postgres_url()).await.unwrap();
        let stage = Self { cluster, ann, bob, pool, _turn: turn };
        stage.link().await;
        stage.until_redis_is_believed().await;
        stage
    }

    /// Waits until Redis is old enough for "nobody is connected" to mean that.
    async fn until_redis_is_believed(&self) {
        let client = redis::Client::open(self.cluster.redis.url()).unwrap();
        let mut redis = fanlight::dev::redis::connect(&client).await.unwrap();
        until("redis is old enough", async || {
            let mut since = redis::cmd("HGET");
            since.arg("fanlight:pulse").arg("since");
            let since: i64 = since.query_async(&mut redis).await.unwrap();
            chrono::Utc::now().timestamp_millis() - since > WARMUP_MS
        })
        .await;
    }

    async fn link(&self) {
        let mut sockets = [self.connect(&self.ann, 0, "").await, self.connect(&self.bob, 1, "").await];
        crate::client::link(&self.ann, &self.bob).await;
        for socket in &mut sockets {
            socket.expect_event("PARTNER_LINKED").await;
        }
        self.until_settled().await;
        let [ann, bob] = sockets;
        ann.close().await;
        bob.close().await;
        self.until_absent().await;
    }

    /// The address of one node, not of the load balancer.
    pub fn node(&self, index: usize) -> String {
        self.cluster.nodes[index].http()
    }

    /// The sum of those series of a node's metric that have this in their labels.
    pub async fn metric(&self, node: usize, name: &str, label: &str) -> u64 {
        let text = Api::anonymous(&self.cluster.nodes[node].internal()).get("/metrics").await.expect(200);
        scrape::sum(text.as_str().unwrap(), name, label)
    }

    pub fn signal(&mut self, nodes: &[usize], signal: Signal) {
        for node in nodes {
            self.cluster.nodes[*node].process.signal(signal).unwrap();
        }
    }

    pub async fn connect(&self, client: &Client, node: usize, query: &str) -> Socket {
        client.connect(&self.node(node), query).await
    }

    /// Changes Ann's light through a node. Returns when the change was made, as the database says (epoch ms).
    pub async fn ann_sets(&self, node: usize, status: &str) -> f64 {
        let body = json!({ "status": status });
        self.ann.at(&self.node(node)).patch("/status", body).await.expect(200);
        self.last_commit(&self.bob).await
    }

    /// When the user's last event was written (epoch ms).
    pub async fn last_commit(&self, user: &Client) -> f64 {
        sqlx::query_scalar(
            "SELECT (EXTRACT(EPOCH FROM max(created_at)) * 1000)::float8 FROM events WHERE user_id = $1",
        )
        .bind(id(user))
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    pub async fn register_device(&self, user: &Client, device: &str, token: &str) {
        let body = json!({"deviceId": device, "fcmToken": token, "platform": "android"});
        user.put("/devices/fcm-token", body).await.expect(201);
    }

    /// What the push service was asked, but for the linking.
    pub fn pushes(&self) -> Vec<fcm::Entry> {
        self.cluster.fcm.log()
    }

    /// The outcomes of a user's events, in order; null for those not settled.
    pub async fn outcomes(&self, user: &Client) -> Vec<(i64, Option<String>)> {
        sqlx::query_as("SELECT seq, outcome FROM events WHERE user_id = $1 ORDER BY seq")
            .bind(id(user))
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    pub async fn until_settled(&self) {
        until("every event is settled", async || {
            let open: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE outcome IS NULL")
                .fetch_one(&self.pool)
                .await
                .unwrap();
            open == 0
        })
        .await;
    }

    /// Waits until each event of the user has an outcome.
    pub async fn until_settled_for(&self, user: &Client) {
        until("every event of the user is settled", async || {
            self.outcomes(user).await.iter().all(|(_, outcome)| outcome.is_some())
        })
        .await;
    }

    /// How often the user's last event was claimed.
    pub async fn claims(&self, user: &Client) -> i32 {
        sqlx::query_scalar("SELECT claims FROM events WHERE user_id = $1 ORDER BY seq DESC LIMIT 1")
            .bind(id(user))
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// How long after its commit the user's last event was settled.
    pub async fn settled_after_ms(&self, user: &Client) -> f64 {
        sqlx::query_scalar(
            "SELECT (EXTRACT(EPOCH FROM settled_at - created_at) * 1000)::float8
             FROM events WHERE user_id = $1 ORDER BY seq DESC LIMIT 1",
        )
        .bind(id(user))
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// Waits until no node holds a connection, and Redis knows it.
    pub async fn until_absent(&self) {
        self.until_present("nobody is connected", "*", false).await;
    }

    /// Waits until Redis knows that the user is connected nowhere.
    pub async fn until_gone(&self, user: &Client) {
        self.until_present("the user is gone", &user.id, false).await;
    }

    /// Waits until Redis knows where the user is connected.
    pub async fn until_known(&self, user: &Client) {
        self.until_present("the user's connection is known", &user.id, true).await;
    }

    async fn until_present(&self, what: &str, user: &str, expected: bool) {
        let client = redis::Client::open(self.cluster.redis.url()).unwrap();
        let mut redis = fanlight::dev::redis::connect(&client).await.unwrap();
        until(what, async || {
            let pattern = format!("fanlight:presence:{user}");
            let present: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut redis).await.unwrap();
            present.is_empty() != expected
        })
        .await;
    }
}

/// A cluster of its own with these settings of the nodes.
pub fn options(settings: &[(&str, &str)]) -> ClusterOptions {
    let env = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ClusterOptions { env, ..ClusterOptions::scratch(env!("CARGO_BIN_EXE_fanlight")) }
}

fn id(user: &Client) -> uuid::Uuid {
    user.id.parse().unwrap()
}

/// Waits for an effect that nothing announces.
#[track_caller]
pub fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + PATIENCE;
        while !holds().await {
            assert!(Instant::now() < deadline, "{caller}: never: {what}");
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The `seq` of a frame.
pub fn seq(event: &Value) -> i64 {
    event["seq"].as_i64().unwrap_or_else(|| panic!("no seq in {event}"))
}
