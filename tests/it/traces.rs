//! One trace shows the whole way of an event, over all nodes that it takes; and who is not there to see it costs nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use fanlight::dev::process::Signal;
use futures_util::StreamExt as _;
use http::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::client::DEADLINE;
use crate::collector::{Collector, Seen};
use crate::socket::Socket;
use crate::stage::{PATIENT, Stage, options, until};

const CALLER: &str = "00f067aa0ba902b7";
/// In the settings of `Stage`, a node that stops takes half of it at most.
const STOPS_WITHIN: Duration = Duration::from_secs(20);

/// A caller's trace, with a number.
fn trace(number: u8) -> String {
    format!("4bf92f3577b34da6a3ce929d0e0e47{number:02x}")
}

impl Stage {
    /// As `ann_sets`, by a caller who traces it, or says that it does not.
    async fn ann_sets_in(&self, node: usize, trace: &str, flags: &str, status: &str) {
        let ann = self.ann.at(&self.node(node));
        let request = ann.request(Method::PATCH, "/status").json(&json!({ "status": status }));
        let traceparent = format!("00-{trace}-{CALLER}-{flags}");
        ann.send(request.header("traceparent", traceparent)).await.expect(200);
    }

    /// What the row of the user's last event says of its trace.
    async fn traceparent(&self) -> Option<String> {
        sqlx::query_scalar(
            "SELECT traceparent FROM events WHERE user_id = $1::uuid ORDER BY seq DESC LIMIT 1",
        )
        .bind(&self.bob.id)
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    fn log(&self, node: usize) -> String {
        let file = self.cluster.state.path().join(format!("node-{}.log", node + 1));
        std::fs::read_to_string(file).unwrap()
    }
}

/// The span of this name, which there is once.
#[track_caller]
fn only<'a>(spans: &'a [Seen], name: &str) -> &'a Seen {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next().unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    assert!(found.next().is_none(), "{name} stands twice in {spans:#?}");
    span
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_shows_the_request_the_publish_the_write_on_another_node_and_the_confirmation() {
    let collector = Collector::start().await;
    let settings = [
        ("FANLIGHT__TELEMETRY__ENDPOINT", collector.url.as_str()),
        ("FANLIGHT__TELEMETRY__SAMPLE_RATIO", "0.0"),
        ("FANLIGHT__TELEMETRY__FOLLOW_CALLERS", "true"),
        ("FANLIGHT__LOG__FILTER", "info,fanlight=debug"),
        PATIENT[0],
    ];
    let stage = Stage::set_on(options(&settings)).await;
    let mut socket = stage.connect(&stage.bob, 1, "").await;
    socket.expect_nothing_more().await;
    stage.until_known(&stage.bob).await;

    stage.ann_sets_in(0, &trace(1), "01", "BUSY").await;

    let event = socket.expect_event("PARTNER_STATUS_CHANGED").await;
    let of_event = |span: &Seen| span.says("event.id", event["id"].as_str().unwrap());
    collector.until(&trace(1), "its settlement", |span| span.name == "event.settle" && of_event(span)).await;
    collector.until(&trace(1), "its write", |span| span.name == "event.write").await;
    let is_first = |span: &Seen| span.says("event.repeated", "false") && of_event(span);
    let publish = collector.until(&trace(1), "its publish", is_first).await;
    let request = collector.until(&trace(1), "the request", |span| span.name == "PATCH /status").await;
    assert_eq!((&*request.parent, &*request.attributes["http.response.status_code"]), (CALLER, "200"));

    let spans = collector.trace(&trace(1));
    let statement = only(&spans, "postgres.status.change");
    // The other event is Ann's own, who is nowhere.
    let bobs: Vec<Seen> = spans.iter().filter(|span| of_event(span)).cloned().collect();
    let (write, settle) = (only(&bobs, "event.write"), only(&bobs, "event.settle"));
    for child in [statement, &publish, settle] {
        assert_eq!(child.parent, request.id, "{child:?}");
    }
    assert_eq!(write.parent, publish.id);
    assert!(statement.node == request.node && publish.node == request.node && write.node != request.node);
    assert!(publish.says("event.sighting", "remote"));
    assert!(settle.says("event.outcome", "delivered") && settle.says("event.reason", "pong"));
    assert!(spans.iter().all(|span| span.start <= span.end && !span.failed), "{spans:#?}");
    assert!(request.start <= statement.start && write.start <= settle.end);
    assert_eq!(stage.traceparent().await, Some(format!("00-{}-{}-01", trace(1), request.id)));

    // Nor is what the caller does not trace.
    stage.ann_sets_in(0, &trace(2), "00", "AVAILABLE").await;
    assert_eq!(stage.traceparent().await, None);
    socket.expect_event("PARTNER_STATUS_CHANGED").await;

    // A client that comes back gets what it missed, and its write is part of the trace of that.
    socket.close().await;
    stage.until_gone(&stage.bob).await;
    stage.ann_sets_in(0, &trace(3), "01", "BUSY").await;
    let mut resumed = stage.connect(&stage.bob, 2, "since=0").await;
    while resumed.next_event().await["seq"] != json!(4) {}
    collector.until(&trace(3), "the write of a replay", |span| span.name == "event.write").await;

    what_is_logged_meanwhile_bears_its_id(&stage).await;
}

async fn what_is_logged_meanwhile_bears_its_id(stage: &Stage) {
    let url = format!("{}/ws?token={}", stage.node(0), stage.bob.access_token);
    let _socket = Socket::open(&url, &[("traceparent", &format!("00-{}-{CALLER}-01", trace(4)))]).await;
    until("a line bears the id of the trace", async || {
        let log = stage.log(0);
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.any(|line| line["fields"]["message"] == "handshake" && line["span"]["trace.id"] == trace(4))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_shows_the_repetition_and_the_push_of_what_a_frozen_phone_did_not_confirm() {
    let collector = Collector::start().await;
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("FANLIGHT__TELEMETRY__SAMPLE_RATIO", "1.0"),
        ("FANLIGHT__DELIVERY__ACK_DEADLINE_MS", "3000"),
    ];
    let stage = Stage::set_on(options(&settings)).await;
    let redis = redis::Client::open(stage.cluster.redis.url()).unwrap();
    let mut inboxes = redis.get_async_pubsub().await.unwrap();
    inboxes.psubscribe("fanlight:inbox:*").await.unwrap();
    stage.register_device(&stage.bob, "phone", "token-phone").await;
    // On two nodes: whichever node repeats, it tells another one.
    let mut sockets = [stage.connect(&stage.bob, 1, "").await, stage.connect(&stage.bob, 2, "").await];
    for socket in &mut sockets {
        socket.expect_nothing_more().await;
        socket.freeze();
    }
    stage.until_known(&stage.bob).await;

    // What the caller says of it counts for nothing: the ratio does.
    stage.ann_sets_in(0, &trace(1), "00", "BUSY").await;

    let is_push = |span: &Seen| span.name == "event.settle" && span.says("event.reason", "accepted");
    let settle = collector.until(&trace(1), "the end of the push", is_push).await;
    let push = collector.until(&trace(1), "the push", |span| span.name == "event.push").await;
    let event = &push.attributes["event.id"];
    let is_again = |span: &Seen| span.says("event.repeated", "true") && span.says("event.id", event);
    let repeated = collector.until(&trace(1), "the repetition", is_again).await;
    let request = collector.until(&trace(1), "the request", |span| span.name == "PATCH /status").await;
    let send = collector.until(&trace(1), "the call of FCM", |span| span.name == "fcm.send").await;
    for child in [&push, &repeated, &settle] {
        assert_eq!(child.parent, request.id, "{child:?}");
    }
    assert_eq!(send.parent, push.id);
    assert!(send.says("push.platform", "android") && send.says("push.verdict", "accepted"));

    // Nodes of before the traces understand the repetition.
    let id: uuid::Uuid = event.parse().unwrap();
    let versions = inboxes.on_message().filter_map(async |message| {
        let payload = message.get_payload_bytes();
        payload.windows(16).any(|window| window == id.as_bytes()).then(|| payload[0])
    });
    let versions: Vec<u8> = timeout(DEADLINE, versions.take(3).collect()).await.unwrap();
    assert_eq!(versions, [2, 2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_costs_spans_and_nothing_else() {
    const QUEUE: u64 = 4;
    // Takes connections, and never answers.
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", deaf.local_addr().unwrap());
    let settings = [
        ("FANLIGHT__TELEMETRY__ENDPOINT", url.as_str()),
        ("FANLIGHT__TELEMETRY__SAMPLE_RATIO", "1.0"),
        ("FANLIGHT__TELEMETRY__QUEUE_SPANS", "4"),
        ("FANLIGHT__TELEMETRY__EXPORT_TIMEOUT_MS", "1000"),
        PATIENT[0],
    ];
    let mut stage = Stage::set_on(options(&settings)).await;
    let mut socket = stage.connect(&stage.bob, 1, "").await;
    socket.expect_nothing_more().await;
    let mut seen = BTreeSet::new();
    for turn in 0..20 {
        stage.ann_sets(0, ["BUSY", "AVAILABLE"][turn % 2]).await;
        seen.insert(socket.expect_event("PARTNER_STATUS_CHANGED").await["seq"].as_i64().unwrap());
    }
    assert_eq!(seen.len(), 20);
    stage.until_settled_for(&stage.bob).await;
    let lost = async |result: &str| stage.metric(0, "fanlight_trace_spans_total", result).await;
    until("a batch is given up", async || lost("failed").await > 0).await;
    assert!(lost("dropped").await > QUEUE, "nothing was dropped");
    assert_eq!(lost("exported").await, 0);
    until("the log says so", async || stage.log(0).contains("the collector takes no spans")).await;
    assert_eq!(stage.log(0).matches("the collector takes no spans").count(), 1);

    stage.signal(&[0], Signal::Term);
    assert!(stage.cluster.nodes[0].process.ended(STOPS_WITHIN).await, "the node waits for its collector");
    assert!(stage.log(0).contains("the node has stopped"));
}
