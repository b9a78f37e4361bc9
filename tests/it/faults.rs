//! What happens when a part is away: later, perhaps by another way, but never not at all.

use std::time::Duration;

use fanlight::dev::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use crate::client::Client;
use crate::socket::Socket;
use crate::stage::{Stage, seq, until};

/// `delivery.ack_deadline_ms`
const ACK_DEADLINE_MS: f64 = 5_000.0;
/// One look of a sweeper is due every half second; a busy machine takes longer.
const HEALED_MS: f64 = 3_000.0;
const OUTAGE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_user_gets_one_push_per_active_device_at_once() {
    let stage = Stage::set().await;
    for device in ["phone", "tablet", "old"] {
        stage.register_device(&stage.bob, device, &format!("token-{device}")).await;
    }
    stage.bob.delete("/devices/fcm-token/old").await.expect(204);

    let committed = stage.ann_sets(0, "BUSY").await;
    stage.until_settled_for(&stage.bob).await;

    let pushes = stage.pushes();
    let mut tokens: Vec<&str> = pushes.iter().map(|push| push.token.as_str()).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, ["token-phone", "token-tablet"]);
    for push in &pushes {
        let waited = as_ms(push.at) - committed;
        // Well under a second on a quiet machine; in any case without waiting for a confirmation.
        assert!(waited < ACK_DEADLINE_MS, "pushed {waited} ms after the commit");
        assert_eq!(push.message["data"]["type"], "PARTNER_STATUS_CHANGED");
    }
    assert_eq!(stage.outcomes(&stage.bob).await.last().unwrap().1.as_deref(), Some("pushed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_phone_is_pushed_after_the_deadline_and_not_before() {
    let stage = Stage::set().await;
    stage.register_device(&stage.bob, "phone", "token-phone").await;
    let socket = stage.connect(&stage.bob, 1, "").await;
    socket.freeze();

    let committed = stage.ann_sets(0, "BUSY").await;
    stage.until_settled_for(&stage.bob).await;

    let pushes = stage.pushes();
    assert_eq!(pushes.len(), 1, "{pushes:?}");
    let waited = as_ms(pushes[0].at) - committed;
    assert!((ACK_DEADLINE_MS..=ACK_DEADLINE_MS + HEALED_MS).contains(&waited), "pushed after {waited} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_whose_confirmation_comes_in_time_is_not_pushed() {
    let stage = Stage::set_patient().await;
    stage.register_device(&stage.bob, "phone", "token-phone").await;
    let mut socket = stage.connect(&stage.bob, 1, "").await;
    socket.freeze();
    stage.ann_sets(0, "BUSY").await;
    // Thaws when the event was routed a second time, long before the deadline.
    until("the sweeper has looked", async || stage.claims(&stage.bob).await > 0).await;
    socket.thaw();
    assert_eq!(seq(&socket.expect_event("PARTNER_STATUS_CHANGED").await), 2);
    socket.expect_nothing_more().await;
    stage.until_settled_for(&stage.bob).await;
    assert_eq!(stage.outcomes(&stage.bob).await.last().unwrap().1.as_deref(), Some("delivered"));
    assert!(stage.pushes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_costs_a_push_or_a_reconnect_and_no_event() {
    const CHANGES: i64 = 30;
    let mut stage = Stage::set().await;
    stage.register_device(&stage.bob, "phone", "token-phone").await;
    let mut socket = stage.connect(&stage.bob, 1, "").await;

    let mut seen = Vec::new();
    for change in 0..CHANGES {
        if change == CHANGES / 2 {
            stage.cluster.nodes[1].process.signal(Signal::Kill).unwrap();
        }
        stage.ann_sets(0, ["AVAILABLE", "BUSY"][usize::try_from(change % 2).unwrap()]).await;
    }
    while let Some(event) = socket.event_before_end().await {
        seen.push(seq(&event));
    }
    let since = seen.last().copied().unwrap_or(1);
    let mut resumed = stage.connect(&stage.bob, 2, &format!("since={since}")).await;
    for expected in since + 1..=CHANGES + 1 {
        assert_eq!(seq(&resumed.next_event().await), expected);
    }
    resumed.expect_nothing_more().await;
    stage.until_settled_for(&stage.bob).await;
    assert_eq!(seen, (2..=since).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_and_a_phone_that_stays_away_end_in_a_push() {
    let mut stage = Stage::set().await;
    stage.register_device(&stage.bob, "phone", "token-phone").await;
    let _socket = stage.connect(&stage.bob, 1, "").await;
    stage.cluster.nodes[1].process.signal(Signal::Kill).unwrap();

    stage.ann_sets(0, "BUSY").await;
    stage.until_settled_for(&stage.bob).await;

    assert_eq!(stage.pushes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_commit_and_publish_is_healed_by_another_node() {
    for failpoint in ["after_commit", "before_publish", "after_publish"] {
        let mut stage = Stage::set().await;
        let crash = ("FANLIGHT_FAILPOINTS".to_owned(), format!("{failpoint}=abort"));
        stage.cluster.nodes[0].restart(&[crash]).await.unwrap();
        let mut socket = stage.connect(&stage.bob, 1, "").await;

        let ann = stage.ann.at(&stage.node(0));
        let request = ann.request(http::Method::PATCH, "/status").json(&json!({"status": "BUSY"}));
        // The node dies while it answers, or just after.
        let _answer = request.send().await;
        let event = socket.expect_event("PARTNER_STATUS_CHANGED").await;

        let arrived = as_ms(now_ms());
        assert!(
            stage.cluster.nodes[0].process.ended(Duration::from_secs(30)).await,
            "{failpoint} did not crash"
        );
        let waited = arrived - stage.last_commit(&stage.bob).await;
        // Before the deadline of the push: another node has routed it again.
        assert!(waited <= ACK_DEADLINE_MS, "{failpoint}: {waited} ms");
        assert_eq!(seq(&event), 2);
        socket.expect_nothing_more().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_closes_no_socket_and_fails_no_request() {
    let mut stage = Stage::set_patient().await;
    let mut traffic = Traffic::start(&stage).await;
    stage.cluster.redis.process.signal(Signal::Kill).unwrap();
    traffic.run(&stage, OUTAGE).await;
    // Empty, as after a crash.
    stage.cluster.redis.restart().await.unwrap();
    traffic.finish(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_redis_closes_no_socket_and_fails_no_request() {
    let mut stage = Stage::set_patient().await;
    let mut traffic = Traffic::start(&stage).await;
    stage.cluster.redis.process.signal(Signal::Stop).unwrap();
    traffic.run(&stage, OUTAGE).await;
    stage.cluster.redis.process.signal(Signal::Cont).unwrap();
    traffic.finish(&stage).await;
}

/// Ann changes her light again and again; both watch, on different nodes.
struct Traffic {
    ann: Socket,
    bob: Socket,
    changes: i64,
}

impl Traffic {
    async fn start(stage: &Stage) -> Self {
        stage.register_device(&stage.bob, "phone", "token-phone").await;
        let ann = stage.connect(&stage.ann, 0, "").await;
        let bob = stage.connect(&stage.bob, 1, "").await;
        let mut traffic = Self { ann, bob, changes: 0 };
        traffic.change(stage).await;
        traffic
    }

    async fn change(&mut self, stage: &Stage) {
        self.changes += 1;
        let status = ["AVAILABLE", "BUSY"][usize::try_from(self.changes % 2).unwrap()];
        stage.ann.patch("/status", json!({ "status": status })).await.expect(200);
    }

    /// Changes for this long; logging in works meanwhile too.
    async fn run(&mut self, stage: &Stage, length: Duration) {
        let mut pace = tokio::time::interval(Duration::from_millis(100));
        let end = Instant::now() + length;
        while Instant::now() < end {
            pace.tick().await;
            self.change(stage).await;
        }
        let again: Client = stage.bob.log_in_again().await;
        again.get("/me").await.expect(200);
    }

    /// Everything arrives soon after the return, in order, and nobody was pushed who was there.
    async fn finish(mut self, stage: &Stage) {
        let back = Instant::now();
        self.change(stage).await;
        for socket in [&mut self.ann, &mut self.bob] {
            for expected in 2..=self.changes + 1 {
                assert_eq!(seq(&socket.next_event().await), expected);
            }
        }
        // Nodes compare every second while Redis is away.
        let waited = back.elapsed();
        assert!(waited <= OUTAGE, "{waited:?} after the return");
        for socket in [&mut self.ann, &mut self.bob] {
            socket.expect_nothing_more().await;
        }
        stage.until_settled().await;
        assert!(stage.pushes().is_empty(), "{:?}", stage.pushes());
    }
}

fn as_ms(epoch_ms: i64) -> f64 {
    Duration::from_millis(epoch_ms.unsigned_abs()).as_secs_f64() * 1_000.0
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_fcm_cannot_take_now_is_repeated_and_survives_a_restart() {
    let mut stage = Stage::set().await;
    stage.register_device(&stage.bob, "phone", "token-phone").await;
    let script = json!({"replies": [{"times": 1, "code": "UNAVAILABLE", "retryAfter": 2}]});
    stage.cluster.fcm.script(serde_json::from_value(script).unwrap());
    stage.ann_sets(0, "BUSY").await;
    until("the first attempt failed", async || stage.pushes().len() == 1).await;
    for node in &mut stage.cluster.nodes {
        node.restart(&[]).await.unwrap();
    }
    stage.until_settled_for(&stage.bob).await;
    let pushes = stage.pushes();
    let outcomes: Vec<&str> = pushes.iter().map(|push| push.outcome.as_str()).collect();
    assert_eq!(outcomes, ["UNAVAILABLE", "accepted"]);
    let waited = pushes[1].at - pushes[0].at;
    assert!(waited >= 2_000, "repeated after {waited} ms, before Retry-After");
}
