//! One cluster for all tests that break nothing. They run at the same time, so each makes its own people.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fanlight::dev::cluster::{Cluster, ClusterOptions};
use fanlight::dev::fcm::Entry;
use sqlx::PgPool;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::client::{self, Client, DEADLINE};
use crate::socket::Socket;

/// All tests come from one address, and hashing well is not what they are about.
const SETTINGS: [(&str, &str); 10] = [
    // As in production; a development cluster has longer ones.
    ("FANLIGHT__ACCOUNTS__ACCESS_TTL_SECONDS", "900"),
    ("FANLIGHT__ACCOUNTS__REGISTRATIONS_PER_ADDRESS_MAX", "100000"),
    ("FANLIGHT__ACCOUNTS__LOGIN_FAILURES_PER_ADDRESS_MAX", "100000"),
    ("FANLIGHT__ACCOUNTS__HASHING_MEMORY_KIB", "64"),
    ("FANLIGHT__ACCOUNTS__HASHING_PASSES", "1"),
    ("FANLIGHT__ACCOUNTS__HASHING_LANES", "1"),
    ("FANLIGHT__ACCOUNTS__HASHING_QUEUE_MAX", "1000"),
    ("FANLIGHT__POSTGRES__ACQUIRE_TIMEOUT_MS", "10000"),
    ("FANLIGHT__REDIS__COMMAND_TIMEOUT_MS", "1000"),
    // After direct messages, and soon.
    ("FANLIGHT__NOTIFICATIONS__GATHER_ALL_MS", "1000"),
];

/// The fake FCM lives as long as the runtime that started it: a test's own would end with that test.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static PEOPLE: AtomicU64 = AtomicU64::new(1);

/// Three nodes behind `HAProxy`, started when the first test asks, gone when the process is.
pub async fn cluster() -> &'static Cluster {
    let start = || async {
        let binary = env!("CARGO_BIN_EXE_fanlight");
        let env = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let options = ClusterOptions { env, ..ClusterOptions::scratch(binary) };
        RUNTIME.spawn(Cluster::start(options)).await.unwrap().unwrap()
    };
    CLUSTER.get_or_init(start).await
}

/// A name that nobody else has.
pub fn fresh(name: &str) -> String {
    format!("{name}-{}", PEOPLE.fetch_add(1, Ordering::Relaxed))
}

/// Somebody new, who talks to the load balancer.
pub async fn person(name: &str) -> Client {
    Client::register(&cluster().await.url(), &format!("{}@example.com", fresh(name))).await
}

/// Two new people who are linked, have seen that they are, and have gone offline.
pub async fn couple() -> (Client, Client) {
    let (ada, ben) = tokio::join!(person("ada"), person("ben"));
    client::link(&ada, &ben).await;
    for one in [&ada, &ben] {
        // Confirms what it is told, so that later sockets are not told again.
        let mut socket = one.connect(&one.base_url, "").await;
        socket.expect_event("PARTNER_LINKED").await;
        settled(one).await;
        socket.close().await;
        gone(one).await;
    }
    (ada, ben)
}

/// A socket at the node with this number (from 0), that is past its start: what happens now, it gets.
pub async fn socket_at(client: &Client, node: usize) -> Socket {
    let mut socket = client.connect(&cluster().await.nodes[node].http(), "").await;
    socket.expect_nothing_more().await;
    socket
}

/// Waits until every event of this person is settled.
pub async fn settled(client: &Client) {
    let user: uuid::Uuid = client.id.parse().unwrap();
    let open = "SELECT count(*) FROM events WHERE user_id = $1 AND settled_at IS NULL";
    eventually(DEADLINE, "every event is settled", async || {
        let open: i64 = sqlx::query_scalar(open).bind(user).fetch_one(&database().await).await.unwrap();
        (open == 0).then_some(())
    })
    .await;
}

/// Waits until the cluster knows that this person has no socket.
pub async fn gone(client: &Client) {
    let redis = redis::Client::open(cluster().await.redis.url()).unwrap();
    let redis = fanlight::dev::redis::connect(&redis).await.unwrap();
    let presence = format!("fanlight:presence:{}", client.id);
    eventually(DEADLINE, "the sockets are gone", async || {
        let mut redis = redis.clone();
        let open: bool = redis::cmd("EXISTS").arg(&presence).query_async(&mut redis).await.unwrap();
        (!open).then_some(())
    })
    .await;
}

/// What the fake FCM was sent for this token, as soon as there are `count` sends.
pub async fn pushes_to(token: &str, count: usize) -> Vec<Entry> {
    let fcm = &cluster().await.fcm;
    eventually(DEADLINE, "the push", async || {
        let log: Vec<Entry> = fcm.log().into_iter().filter(|entry| entry.token == token).collect();
        (log.len() >= count).then_some(log)
    })
    .await
}

/// The nodes' database.
pub async fn database() -> PgPool {
    static DATABASE: OnceCell<String> = OnceCell::const_new();
    let url = DATABASE.get_or_init(async || cluster().await.postgres_url()).await;
    PgPool::connect(url).await.unwrap()
}

/// For what cannot be awaited: asks again and again until there is an answer.
pub async fn eventually<T>(limit: Duration, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    const PAUSE: Duration = Duration::from_millis(25);
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
