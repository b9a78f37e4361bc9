//! What happens when a part stands still, or leaves in order.

use std::time::Duration;

use fanlight::dev::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use crate::client::{Api, Client};
use crate::stage::{Stage, seq, until};

/// `redis.lease_ms`, and one more second.
const BEYOND_THE_LEASE: Duration = Duration::from_secs(6);
/// Far beyond what a node takes to leave.
const LEFT_WITHIN: Duration = Duration::from_secs(30);
/// `delivery.ack_deadline_ms`
const ACK_DEADLINE_MS: f64 = 5_000.0;
/// The deadlines of a request and of a background job, and some more.
const BEYOND_THE_DEADLINES: Duration = Duration::from_secs(22);

impl Stage {
    /// How many nodes are alive, as Redis knows.
    async fn leases(&self) -> usize {
        let client = redis::Client::open(self.cluster.redis.url()).unwrap();
        let mut redis = fanlight::dev::redis::connect(&client).await.unwrap();
        let keys: Vec<String> =
            redis::cmd("KEYS").arg("fanlight:lease:*").query_async(&mut redis).await.unwrap();
        keys.len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_frozen_is_told_again_when_it_comes_back() {
    let mut stage = Stage::set().await;
    stage.register_device(&stage.bob, "phone", "token-phone").await;
    let mut socket = stage.connect(&stage.bob, 1, "").await;
    // Frozen before it has looked for unsettled events, the node would rightly not tell one that was pushed since.
    socket.expect_nothing_more().await;
    stage.cluster.nodes[1].process.signal(Signal::Stop).unwrap();
    let frozen_at = Instant::now();
    until("the lease has ended", async || frozen_at.elapsed() > BEYOND_THE_LEASE).await;
    // The others take it for lost, and push when the deadline has passed.
    stage.ann_sets(0, "BUSY").await;
    stage.until_settled_for(&stage.bob).await;
    assert_eq!(stage.pushes().len(), 1);

    stage.cluster.nodes[1].process.signal(Signal::Cont).unwrap();
    assert_eq!(seq(&socket.expect_event("PARTNER_STATUS_CHANGED").await), 2);
    stage.until_known(&stage.bob).await;
    let committed = stage.ann_sets(0, "AVAILABLE").await;
    assert_eq!(seq(&socket.expect_event("PARTNER_STATUS_CHANGED").await), 3);

    stage.until_settled_for(&stage.bob).await;
    let settled = stage.settled_after_ms(&stage.bob).await;
    assert!(settled < ACK_DEADLINE_MS, "confirmed {settled} ms after {committed}");
    assert_eq!(stage.pushes().len(), 1, "{:?}", stage.pushes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_frozen_before_its_push_does_not_make_it_when_another_has() {
    let mut stage = Stage::set().await;
    stage.register_device(&stage.bob, "phone", "token-phone").await;
    let go_on = stage.cluster.state.path().join("go-on");
    let env = [
        ("FANLIGHT_FAILPOINTS", format!("before_push=hold:{}", go_on.display())),
        ("FANLIGHT__DELIVERY__CLAIM_LEASE_MS", "2000".to_owned()),
    ];
    stage.cluster.nodes[0].restart(&env.map(|(name, value)| (name.to_owned(), value))).await.unwrap();
    let ann = stage.ann.at(&stage.node(0));
    // The others must not be faster.
    stage.signal(&[1, 2], Signal::Stop);
    let story = async {
        until("the first node is about to push", async || {
            let attempts = sqlx::query_scalar("SELECT count(*) FROM pushes");
            attempts.fetch_one(&stage.pool).await.is_ok_and(|attempts: i64| attempts == 1)
        })
        .await;
        stage.signal(&[0], Signal::Stop);
        stage.signal(&[1, 2], Signal::Cont);
        stage.until_settled_for(&stage.bob).await;
        assert_eq!(stage.pushes().len(), 1);
        std::fs::write(&go_on, "").unwrap();
        stage.signal(&[0], Signal::Cont);
    };
    // The thread that stands still may be the one that has to answer.
    let (_answer, ()) = tokio::join!(ann.patch("/status", json!({"status": "BUSY"})), story);

    until("the first node has decided", async || {
        stage.metric(0, "fanlight_push_attempts_overtaken_total", "").await == 1 || stage.pushes().len() > 1
    })
    .await;
    assert_eq!(stage.pushes().len(), 1, "{:?}", stage.pushes());
    assert_eq!(stage.outcomes(&stage.bob).await.last().unwrap().1.as_deref(), Some("pushed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_postgres_holds_up_nobody_for_ever_and_loses_nothing() {
    let stage = Stage::set().await;
    let mut socket = stage.bob.connect(&stage.cluster.url(), "").await;
    let hung = stage.cluster.postgres.freeze().unwrap();

    let started = Instant::now();
    let node = stage.ann.at(&stage.node(0));
    node.patch("/status", json!({"status": "BUSY"})).await.expect_problem(503, "unavailable");
    assert!(started.elapsed() < BEYOND_THE_DEADLINES, "{:?}", started.elapsed());
    node.get("/health").await.expect(503);
    until("all deadlines have passed", async || started.elapsed() > BEYOND_THE_DEADLINES).await;
    drop(hung);

    let back = Instant::now();
    until("the nodes are ready again", async || {
        node.patch("/status", json!({"status": "AVAILABLE"})).await.status == 200
    })
    .await;
    assert!(back.elapsed() < BEYOND_THE_DEADLINES, "{:?}", back.elapsed());
    // What was committed by the request that was given up is told as well, if it was.
    let last = stage.outcomes(&stage.bob).await.len();
    for expected in 2..=i64::try_from(last).unwrap() {
        assert_eq!(seq(&socket.expect_event("PARTNER_STATUS_CHANGED").await), expected);
    }
    stage.until_settled_for(&stage.bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_takes_connections_until_the_load_balancer_has_noticed() {
    let mut stage = Stage::set().await;
    let notice = ("FANLIGHT__SERVER__DRAIN_NOTICE_MS".to_owned(), "8000".to_owned());
    stage.cluster.nodes[1].restart(&[notice]).await.unwrap();
    let internal = Api::anonymous(&stage.cluster.nodes[1].internal());
    let mut early = stage.connect(&stage.bob, 1, "").await;

    internal.post("/drain", serde_json::Value::Null).await.expect(202);

    internal.get("/readyz").await.expect(404);
    stage.ann.at(&stage.node(1)).get("/me").await.expect(200);
    let mut late = stage.connect(&stage.bob, 1, "").await;
    stage.ann_sets(1, "BUSY").await;
    for socket in [&mut early, &mut late] {
        assert_eq!(seq(&socket.expect_event("PARTNER_STATUS_CHANGED").await), 2);
        assert_eq!(socket.expect_close().await.0, 1012);
    }
    assert!(stage.cluster.nodes[1].process.ended(LEFT_WITHIN).await);
    assert!(stage.leases().await <= 2, "a node that left has given its lease back");
    stage.until_settled_for(&stage.bob).await;
    let outcomes = stage.outcomes(&stage.bob).await;
    assert_eq!(outcomes[1].1.as_deref(), Some("delivered"), "what was confirmed is written down");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_request() {
    let mut stage = Stage::set().await;
    let ann: Client = stage.ann.clone();
    let traffic = async {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        loop {
            pace.tick().await;
            ann.patch("/status", json!({"status": "BUSY"})).await.expect(200);
        }
    };
    let restarts = async {
        for node in &mut stage.cluster.nodes {
            node.process.signal(Signal::Term).unwrap();
            assert!(node.process.ended(LEFT_WITHIN).await, "{} does not leave", node.name());
            node.restart(&[]).await.unwrap();
            // HAProxy looks twice a second: the next one leaves only when this one is back in the round.
            let back = Instant::now();
            until("the load balancer has looked", async || back.elapsed() > Duration::from_secs(2)).await;
        }
    };
    tokio::select! {
        never = traffic => never,
        () = restarts => {}
    }
}
