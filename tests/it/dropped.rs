//! A client whose packets are dropped on their way, in both directions: no end of the connection is told to anybody.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::client::DEADLINE;
use crate::network::Network;
use crate::socket::Socket;
use crate::stage::{Stage, seq, until};

/// `delivery.ack_deadline_ms`
const ACK_DEADLINE_MS: f64 = 5_000.0;
/// One look of a sweeper is due every half second; a busy machine takes longer.
const HEALED_MS: f64 = 3_000.0;
/// `TCP_USER_TIMEOUT` of `src/edge/http/server.rs`.
const TCP_FINDS_WITHIN: Duration = Duration::from_secs(20);
/// What a busy machine adds.
const SLACK: Duration = Duration::from_secs(10);
/// Holds Bob's socket.
const HOLDER: usize = 1;
const NEVER_MS: u64 = 600_000;

/// A cluster, and Bob with a phone in a network of its own.
struct Far {
    network: Network,
    stage: Stage,
    port: u16,
}

impl Far {
    /// The node that Bob connects to sends a ping after `heartbeat_ms`, and waits for its pong for `pong_timeout_ms`.
    async fn set(heartbeat_ms: u64, pong_timeout_ms: u64) -> Self {
        let network = Network::new();
        let mut stage = Stage::set().await;
        stage.register_device(&stage.bob, "phone", "token-phone").await;
        let port = stage.node(HOLDER).rsplit(':').next().unwrap().parse().unwrap();
        let settings = [
            ("FANLIGHT__SERVER__LISTEN", format!("0.0.0.0:{port}")),
            ("FANLIGHT__SOCKETS__HEARTBEAT_MS", heartbeat_ms.to_string()),
            ("FANLIGHT__SOCKETS__PONG_TIMEOUT_MS", pong_timeout_ms.to_string()),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        stage.cluster.nodes[HOLDER].restart(&settings).await.unwrap();
        Self { network, stage, port }
    }

    async fn bob_connects(&self, query: &str) -> Socket {
        let stream = self.network.connect(self.port, DEADLINE).unwrap();
        let address = format!("http://{}:{}", self.network.ours, self.port);
        let socket = self.stage.bob.connect_over(stream, &address, query).await;
        self.stage.until_known(&self.stage.bob).await;
        socket
    }

    /// Waits until the node has closed a connection for this reason, and none for another.
    async fn until_closed(&self, code: &str) {
        let closed = "fanlight_connections_closed_total";
        until("the connection's end is counted", async || {
            let label = format!("code=\"{code}\"");
            let (all, right) = tokio::join!(
                self.stage.metric(HOLDER, closed, ""),
                self.stage.metric(HOLDER, closed, &label)
            );
            (all, right) == (1, 1)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_packets_are_dropped_is_pushed_found_by_tcp_and_resumes() {
    let far = Far::set(NEVER_MS, NEVER_MS).await;
    let stage = &far.stage;
    let mut lost = far.bob_connects("").await;
    lost.expect_nothing_more().await;

    far.network.cut();
    assert!(far.network.connect(far.port, Duration::from_secs(2)).is_err(), "something comes through");
    stage.ann_sets(0, "BUSY").await;
    let written = Instant::now();
    stage.until_settled_for(&stage.bob).await;

    let pushed = stage.settled_after_ms(&stage.bob).await;
    assert!((ACK_DEADLINE_MS..=ACK_DEADLINE_MS + HEALED_MS).contains(&pushed), "pushed after {pushed} ms");
    assert_eq!(stage.pushes().len(), 1, "{:?}", stage.pushes());
    stage.until_gone(&stage.bob).await;
    let found = written.elapsed();
    assert!(found < TCP_FINDS_WITHIN + SLACK, "found after {found:?}");
    far.until_closed("gone").await;

    far.network.heal();
    let mut back = far.bob_connects("since=1").await;
    assert_eq!(seq(&back.expect_event("PARTNER_STATUS_CHANGED").await), 2);
    back.expect_nothing_more().await;
    // It was never told of the event, nor of its own end; now it asks.
    lost.send(json!({"type": "PING"})).await;
    assert_eq!(lost.event_before_end().await, None);
    assert_eq!(stage.pushes().len(), 1, "{:?}", stage.pushes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_whose_packets_are_dropped_is_found_by_the_heartbeat_and_resumes() {
    let far = Far::set(1_000, 4_000).await;
    let stage = &far.stage;
    let mut lost = far.bob_connects("").await;
    lost.expect_nothing_more().await;

    far.network.cut();
    let cut = Instant::now();
    stage.until_gone(&stage.bob).await;

    let found = cut.elapsed();
    assert!(found < TCP_FINDS_WITHIN, "found after {found:?}");
    far.until_closed("4002").await;
    stage.ann_sets(0, "BUSY").await;
    stage.until_settled_for(&stage.bob).await;
    assert_eq!(stage.pushes().len(), 1, "{:?}", stage.pushes());

    far.network.heal();
    let mut back = far.bob_connects("since=1").await;
    assert_eq!(seq(&back.expect_event("PARTNER_STATUS_CHANGED").await), 2);
    back.expect_nothing_more().await;
}
