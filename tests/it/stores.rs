//! What happens when a store is cut off, crashes, hands over to another server, or goes back in time.

use std::time::Duration;

use fanlight::dev::ports;
use fanlight::dev::process::Signal;
use fanlight::dev::sentinel::{MASTER, Sentinels};
use redis::aio::MultiplexedConnection;
use serde_json::json;
use tokio::time::Instant;

use crate::client::{Api, Client};
use crate::socket::Socket;
use crate::stage::{Stage, seq, until};

/// How many times a fault is repeated.
const ROUNDS: usize = 10;
/// Far less than the interval of a healthy node's comparisons (30 s), far more than any repair takes.
const SOON: Duration = Duration::from_secs(20);

pub async fn redis(url: &str) -> MultiplexedConnection {
    fanlight::dev::redis::connect(&redis::Client::open(url).unwrap()).await.unwrap()
}

/// How many nodes listen at this Redis; none if it cannot say.
pub async fn listeners(redis: &mut MultiplexedConnection) -> usize {
    let mut command = redis::cmd("PUBSUB");
    let channels = command.arg("CHANNELS").arg("fanlight:inbox:*").query_async::<Vec<String>>(redis).await;
    channels.map_or(0, |channels| channels.len())
}

/// Two watchers on different nodes, who read everything in order.
pub struct Watchers(Vec<Socket>);

impl Watchers {
    pub async fn new(stage: &Stage) -> Self {
        stage.register_device(&stage.bob, "phone", "token-phone").await;
        let mut sockets =
            vec![stage.connect(&stage.bob, 1, "").await, stage.connect(&stage.bob, 2, "").await];
        for socket in &mut sockets {
            // Past its start.
            socket.expect_nothing_more().await;
        }
        Self(sockets)
    }

    /// Each saw every event from the second on, once and in order; nobody was pushed.
    pub async fn saw_everything(&mut self, stage: &Stage) {
        let started = Instant::now();
        let last = stage.outcomes(&stage.bob).await.last().unwrap().0;
        for socket in &mut self.0 {
            for expected in 2..=last {
                assert_eq!(seq(&socket.next_event().await), expected);
            }
            socket.expect_nothing_more().await;
        }
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
        stage.until_settled_for(&stage.bob).await;
        assert!(stage.pushes().is_empty(), "{:?}", stage.pushes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_subscriptions_lose_nothing_and_push_nobody() {
    let stage = Stage::set_patient().await;
    let mut watchers = Watchers::new(&stage).await;
    let mut redis = redis(&stage.cluster.redis.url()).await;
    for round in 0..ROUNDS {
        let mut kill = redis::cmd("CLIENT");
        let killed: usize = kill.arg(&["KILL", "TYPE", "pubsub"]).query_async(&mut redis).await.unwrap();
        assert!(killed > 0 || round > 0);
        stage.ann_sets(round % 3, ["BUSY", "AVAILABLE"][round % 2]).await;
    }
    watchers.saw_everything(&stage).await;
    until("all nodes listen again", async || listeners(&mut redis).await == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_that_redis_drops_for_being_slow_miss_nothing() {
    let stage = Stage::set_patient().await;
    let mut watchers = Watchers::new(&stage).await;
    let mut redis = redis(&stage.cluster.redis.url()).await;
    until("all nodes listen", async || listeners(&mut redis).await == 3).await;
    let set = ["SET", "client-output-buffer-limit", "pubsub 16kb 16kb 1"];
    redis::cmd("CONFIG").arg(&set).query_async::<()>(&mut redis).await.unwrap();
    // One command, so that nothing is written out in between.
    let burst = redis::Script::new(
        "for _, inbox in ipairs(redis.call('PUBSUB', 'CHANNELS', 'fanlight:inbox:*')) do
           for _ = 1, 1000 do redis.call('PUBLISH', inbox, ARGV[1]) end
         end",
    );
    for round in 0..ROUNDS {
        burst.arg("x".repeat(1_000)).invoke_async::<()>(&mut redis).await.unwrap();
        stage.ann_sets(round % 3, ["BUSY", "AVAILABLE"][round % 2]).await;
    }
    for node in 0..3 {
        assert!(stage.metric(node, "fanlight_broker_interruptions_total", "").await > 0, "too small a burst");
    }
    watchers.saw_everything(&stage).await;
    until("all nodes listen again", async || listeners(&mut redis).await == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_follow_a_master_that_was_killed_or_hangs_to_its_replica() {
    for fault in [Signal::Kill, Signal::Stop] {
        let mut stage = Stage::set_patient().await;
        let sentinels = Sentinels::watch(&stage.cluster.state, &stage.cluster.redis, "").await.unwrap();
        sentinels.ready().await.unwrap();
        let env = [
            ("FANLIGHT__REDIS__SENTINELS".to_owned(), json!(sentinels.urls()).to_string()),
            ("FANLIGHT__REDIS__SENTINEL_MASTER".to_owned(), MASTER.to_owned()),
        ];
        for node in &mut stage.cluster.nodes {
            node.restart(&env).await.unwrap();
        }
        let mut watchers = Watchers::new(&stage).await;
        stage.ann_sets(0, "BUSY").await;

        stage.cluster.redis.process.signal(fault).unwrap();
        let mut changes = 0;
        until("all nodes listen at the new master", async || {
            // No request fails meanwhile.
            stage.ann_sets(changes % 3, ["AVAILABLE", "BUSY"][changes % 2]).await;
            changes += 1;
            // A new connection each time: the sentinels close all those of a replica that they promote.
            let client = redis::Client::open(sentinels.replica.url()).unwrap();
            match client.get_multiplexed_async_connection().await {
                Ok(mut replica) => listeners(&mut replica).await == 3,
                Err(_) => false,
            }
        })
        .await;
        stage.ann_sets(0, "OFFLINE").await;

        watchers.saw_everything(&stage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_crashes_again_and_again_loses_nothing_and_closes_no_socket() {
    let mut stage = Stage::set_patient().await;
    let mut watchers = Watchers::new(&stage).await;
    let (ann, node) = (stage.ann.clone(), stage.node(0));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let traffic = async {
        let (mut done, mut refused) = (0, 0);
        while !*stopped.borrow() || done == 0 {
            let status = ["AVAILABLE", "BUSY"][done % 2];
            let answer = ann.at(&node).patch("/status", json!({"status": status})).await;
            match answer.status {
                200 => done += 1,
                503 => {
                    refused += 1;
                    let answer = answer.expect_problem(503, "unavailable");
                    assert!(answer.header("retry-after").is_some());
                }
                other => panic!("{other}: {}", answer.body),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        (done, refused)
    };
    let crashes = async {
        for _ in 0..ROUNDS / 2 {
            stage.cluster.postgres.crash().await.unwrap();
            stage.cluster.postgres.restart().await.unwrap();
        }
        stop.send_replace(true);
    };
    let ((done, refused), ()) = tokio::join!(traffic, crashes);

    let last = stage.outcomes(&stage.bob).await.last().unwrap().0;
    // A change whose answer was lost was made all the same.
    assert!(last > i64::try_from(done).unwrap(), "{done} changes, {refused} refusals, seq {last}");
    watchers.saw_everything(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_committed_late_is_not_skipped() {
    let stage = Stage::set_patient().await;
    let mut socket = stage.connect(&stage.bob, 1, "").await;
    socket.expect_nothing_more().await;
    let mut ann = stage.connect(&stage.ann, 1, "").await;
    ann.expect_nothing_more().await;
    let mut late = stage.pool.begin().await.unwrap();
    let body = json!({"type": "LATE", "timestamp": 0}).to_string();
    sqlx::query("SELECT append_event(gen_random_uuid(), $1::uuid, 'LATE', $2, NULL, 60000)")
        .bind(&stage.bob.id)
        .bind(body)
        .execute(&mut *late)
        .await
        .unwrap();
    // Younger ones are committed, swept and settled first.
    stage.bob.at(&stage.node(2)).patch("/me", json!({"displayName": "Bob"})).await;
    let begun = Instant::now();
    sqlx::query("SELECT append_event(gen_random_uuid(), $1::uuid, 'SOON', $2, NULL, 60000)")
        .bind(&stage.ann.id)
        .bind(json!({"type": "SOON", "timestamp": 0}).to_string())
        .execute(&stage.pool)
        .await
        .unwrap();
    ann.expect_event("SOON").await;
    until("the late one has been due for a while", async || begun.elapsed() > Duration::from_secs(2)).await;
    stage.until_settled().await;

    late.commit().await.unwrap();

    assert_eq!(seq(&socket.expect_event("LATE").await), 2);
    stage.until_settled_for(&stage.bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_lacks_the_last_commits_is_found_out() {
    let mut stage = Stage::set_patient().await;
    stage.ann_sets(0, "BUSY").await;
    stage.ann_sets(0, "AVAILABLE").await;
    stage.cluster.postgres.back_up(&stage.cluster.state, "standby").await.unwrap();
    let v1 = [("sec-websocket-protocol", "fanlight.v1")];
    let v1_socket = async |client: &Client, node: String, seen: serde_json::Value| {
        let mut socket = Socket::open(&format!("{node}/ws"), &v1).await;
        let mut auth = json!({"type": "AUTH", "token": client.access_token});
        auth.as_object_mut().unwrap().extend(seen.as_object().unwrap().clone());
        socket.send(auth).await;
        let welcome = socket.expect_event("WELCOME").await;
        (socket, welcome)
    };
    let (mut connected, welcome) = v1_socket(&stage.bob, stage.node(1), json!({"since": 3})).await;
    let epoch = welcome["epoch"].clone();
    assert!(epoch.is_string(), "{welcome}");
    for (lost, expected) in ["BUSY", "OFFLINE", "BUSY"].into_iter().zip(4..) {
        stage.ann_sets(0, lost).await;
        assert_eq!(seq(&connected.expect_event("PARTNER_STATUS_CHANGED").await), expected);
    }

    stage.cluster.postgres.crash().await.unwrap();
    let standby = stage.cluster.postgres.stand_in(&stage.cluster.state, "standby", None).await.unwrap();
    stage.cluster.postgres = standby;
    let node = stage.ann.at(&stage.node(0));
    // Nobody takes a server in recovery for the database, though it answers.
    node.patch("/status", json!({"status": "BUSY"})).await.expect_problem(503, "unavailable");
    sqlx::query("SELECT pg_promote()").execute(&stage.pool).await.unwrap();
    until("the new primary is taken", async || {
        node.patch("/status", json!({"status": "BUSY"})).await.status == 200
    })
    .await;
    // Its places in the sequence go to other events, beyond the last one that was lost.
    while stage.outcomes(&stage.bob).await.last().unwrap().0 < 8 {
        stage.ann_sets(0, "AVAILABLE").await;
    }

    // Who was connected is told, or sent to resume.
    let (code, _) = connected.expect_close().await;
    assert_eq!(code, 1012);
    let (mut astray, welcome) =
        v1_socket(&stage.bob, stage.node(2), json!({"since": 6, "epoch": epoch})).await;
    assert_ne!(welcome["epoch"], epoch);
    let last = stage.outcomes(&stage.bob).await.last().unwrap().0;
    let resync = json!({"type": "RESYNC", "reason": "another_past", "fromSeq": last});
    assert_eq!(astray.expect_event("RESYNC").await, resync);
    // Who has seen only what both pasts share misses nothing.
    let (mut shared, _) = v1_socket(&stage.bob, stage.node(2), json!({"since": 3, "epoch": epoch})).await;
    for expected in 4..=last {
        assert_eq!(seq(&shared.expect_event("PARTNER_STATUS_CHANGED").await), expected);
    }
    let (mut abreast, _) =
        v1_socket(&stage.bob, stage.node(1), json!({"since": last, "epoch": welcome["epoch"]})).await;
    abreast.expect_nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_was_replaced_and_does_not_know_it_is_not_used_any_more() {
    let mut stage = Stage::set_patient().await;
    stage.cluster.postgres.back_up(&stage.cluster.state, "standby").await.unwrap();
    let port = ports::free().unwrap();
    let promoted =
        stage.cluster.postgres.stand_in(&stage.cluster.state, "standby", Some(port)).await.unwrap();
    let pool = sqlx::PgPool::connect(&promoted.url("fanlight")).await.unwrap();
    sqlx::query("SELECT pg_promote()").execute(&pool).await.unwrap();
    let change = async |stage: &Stage, node: usize| {
        stage.ann.at(&stage.node(node)).patch("/status", json!({"status": "BUSY"})).await.status
    };
    assert_eq!(change(&stage, 2).await, 200);

    // One node has been told of the new one.
    let url = [("FANLIGHT__POSTGRES__URL".to_owned(), promoted.url("fanlight"))];
    stage.cluster.nodes[1].restart(&url).await.unwrap();
    assert_eq!(change(&stage, 1).await, 200);

    for node in [0, 2] {
        until("the old one is refused", async || change(&stage, node).await == 503).await;
        let internal = Api::anonymous(&stage.cluster.nodes[node].internal());
        until("the load balancer is told", async || internal.get("/readyz").await.status == 503).await;
    }
    for node in [0, 2] {
        stage.cluster.nodes[node].restart(&url).await.unwrap();
        assert_eq!(change(&stage, node).await, 200);
    }
}
