//! A cluster at work, and what Prometheus, the dashboards and the rules make of it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use fanlight::telemetry::catalogue::{self, Kind, Values};
use http::Method;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::dashboards::{dashboards, queries};
use super::prometheus::{Prometheus, program};
use super::rules::recorded;
use crate::client::{Api, PASSWORD};
use crate::socket::Socket;
use crate::stage::{Stage, seq};

/// Until every panel must show something: several rounds of load, and some scrapes after them.
const PATIENCE: Duration = Duration::from_secs(120);
const RANGE: &str = "5m";

/// What Grafana would ask.
fn filled_in(expression: &str) -> String {
    let pairs = [("$__rate_interval", RANGE), ("$__range", RANGE), ("$instance", ".*")];
    let filled = pairs.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value));
    assert!(!filled.contains('$'), "what is in {expression}?");
    filled
}

/// Everything that must show something: where it stands, and the expression.
fn expressions() -> Vec<(String, String)> {
    let of_dashboards = dashboards().into_iter().flat_map(|(file, dashboard)| {
        let place =
            move |(title, expression): (String, String)| (format!("{file}: {title}"), filled_in(&expression));
        queries(&dashboard).into_iter().map(place).collect::<Vec<_>>()
    });
    let of_rules = recorded().into_iter().map(|name| ("recording.yml".to_owned(), name));
    of_dashboards.chain(of_rules).collect()
}

/// What people do in a while: they connect, change lights, come back, are pushed, talk, and mistype.
async fn round(stage: &Stage, direct: &Value, number: usize) {
    let lights = [["BUSY", "AVAILABLE"], ["AVAILABLE", "BUSY"]][number % 2];
    let v1 = [("sec-websocket-protocol", "fanlight.v1")];
    let mut bob = stage.connect(&stage.bob, 1, "").await;
    let url = format!("{}/ws?token={}", stage.node(2), stage.ann.access_token);
    let mut ann = Socket::open(&url, &v1).await;
    ann.expect_event("WELCOME").await;

    stage.ann_sets(0, lights[0]).await;
    let last = seq(&bob.expect_event("PARTNER_STATUS_CHANGED").await);
    acknowledge(&mut ann).await;
    ann.send(json!({"type": "PING"})).await;
    ann.expect_event("PONG").await;
    stage.until_settled().await;
    bob.close().await;
    stage.until_gone(&stage.bob).await;

    // Nobody is there: his phone is pushed.
    stage.ann_sets(0, lights[1]).await;
    acknowledge(&mut ann).await;
    stage.until_settled().await;
    let mut bob = stage.connect(&stage.bob, 2, &format!("since={last}")).await;
    bob.expect_event("PARTNER_STATUS_CHANGED").await;
    bob.close().await;
    ann.close().await;

    talk(stage, direct, number).await;

    let api = Api::anonymous(&stage.node(0));
    api.get("/ws").await.expect_problem(426, "upgrade_required");
    for (password, status) in [("wrong-horse-battery", 401), (PASSWORD, 200)] {
        let login = json!({"email": stage.ann.email, "password": password});
        api.post("/auth/login", login).await.expect(status);
    }
}

/// The direct conversation of Ann and Bob, of which both have heard.
async fn acquainted(stage: &Stage) -> Value {
    let direct = json!({"kind": "direct", "userId": stage.bob.id});
    let direct = stage.ann.post("/channels/", direct).await.expect(201)["id"].clone();
    for person in [&stage.ann, &stage.bob] {
        let mut socket = stage.connect(person, 1, "").await;
        socket.expect_event("CHANNEL_CREATED").await;
        stage.until_settled_for(person).await;
        socket.close().await;
        stage.until_gone(person).await;
    }
    direct
}

/// Bob hears Ann in a channel of theirs, on another node; and that she sent him something elsewhere.
async fn talk(stage: &Stage, direct: &Value, number: usize) {
    let name = format!("round {number}");
    let channel = stage.ann.post("/channels/", json!({"name": name})).await.expect(201)["id"].clone();
    stage.bob.post(&format!("/channels/{}/join", channel.as_str().unwrap()), json!({})).await.expect(201);
    let mut bob = stage.connect(&stage.bob, 1, "").await;
    bob.send(json!({"type": "SUBSCRIBE", "channelId": channel, "ref": 1})).await;
    bob.expect_event("OK").await;
    let ann = stage.connect(&stage.ann, 2, "").await;
    ann.send(json!({"type": "TYPING", "channelId": channel, "isTyping": true})).await;
    bob.expect_event("TYPING").await;
    ann.send(json!({"type": "SEND", "channelId": channel, "content": "Hello"})).await;
    bob.expect_event("MESSAGE_CREATED").await;
    let file = stage.ann.request(Method::POST, "/uploads?name=list.txt").header(CONTENT_TYPE, "text/plain");
    let file = stage.ann.send(file.body("Milk\n")).await.expect(201)["id"].clone();
    let message = json!({"channelId": direct, "content": "A list", "attachments": [file]});
    stage.ann.post("/messages/", message).await.expect(201);
    bob.expect_event("DIRECT_MESSAGE").await;
    stage.until_settled().await;
    bob.close().await;
    ann.close().await;
    stage.until_gone(&stage.bob).await;
}

/// Ann's own light, as her phone hears of it.
async fn acknowledge(ann: &mut Socket) {
    let own = seq(&ann.expect_event("SELF_STATUS_CHANGED").await);
    ann.send(json!({"type": "ACK", "seq": own})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_and_every_recording_rule_shows_something_of_a_cluster_at_work() {
    let stage = Stage::set().await;
    let prometheus = Prometheus::start(&stage.cluster).await;
    stage.register_device(&stage.bob, "phone", "token-phone").await;
    let direct = acquainted(&stage).await;
    let mut empty = expressions();
    let asked = empty.len();
    assert!(asked > 100, "the dashboards have lost their panels");

    let deadline = Instant::now() + PATIENCE;
    let mut rounds = 0;
    while !empty.is_empty() {
        assert!(Instant::now() < deadline, "after {rounds} rounds these show nothing:\n{empty:#?}");
        round(&stage, &direct, rounds).await;
        rounds += 1;
        let mut left = Vec::new();
        for (place, expression) in empty {
            if prometheus.values(&expression).await.is_empty() {
                left.push((place, expression));
            }
        }
        empty = left;
    }

    no_rule_fails(&prometheus).await;
    for way in ["write", "receipt", "confirm", "push"] {
        let name = format!("fanlight_delivery_{way}_duration_seconds");
        let mean = prometheus.values(&format!("sum({name}_sum) / sum({name}_count)")).await;
        // Nodes on one machine have one clock: a time that is nothing, or more than a test takes, is not measured right.
        assert!(mean.iter().all(|mean| *mean > 0.0 && *mean < 60.0) && mean.len() == 1, "{name}: {mean:?}");
    }
    for node in &stage.cluster.nodes {
        let page = Api::anonymous(&node.internal()).get("/metrics").await.expect(200);
        let page = page.as_str().unwrap();
        promtool_approves(page);
        for line in page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            is_in_the_catalogue(line);
        }
    }
    prometheus.stop().await;
    stage.cluster.stop().await;
}

/// And the one alert that says so fires.
async fn no_rule_fails(prometheus: &Prometheus) {
    let mut firing = BTreeSet::new();
    for group in prometheus.rules().await["data"]["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            assert_eq!(rule["health"], "ok", "{rule}");
            if rule["state"] == "firing" {
                firing.insert(rule["name"].as_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(firing, BTreeSet::from(["FanlightWatchdog".to_owned()]), "of a cluster that is well");
}

fn promtool_approves(page: &str) {
    let mut command = Command::new(program("promtool"));
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

/// A series of `/metrics`, its labels and their values.
fn is_in_the_catalogue(line: &str) {
    let (series, _) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
    let metric = catalogue::find(name).or(histogram.and_then(catalogue::find));
    let metric = metric.unwrap_or_else(|| panic!("{line} is not in the catalogue"));
    let labels: Vec<(&str, &str)> = labels
        .trim_end_matches('}')
        .split("\",")
        .filter_map(|label| label.split_once("=\""))
        .map(|(name, value)| (name, value.trim_end_matches('"')))
        .filter(|(name, _)| !(*name == "le" && matches!(metric.kind, Kind::Histogram(_))))
        .collect();
    let names: BTreeSet<&str> = labels.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, metric.labels.iter().map(|label| label.name).collect(), "{line}");
    for (name, value) in labels {
        let label = metric.labels.iter().find(|label| label.name == name).unwrap();
        if let Values::OneOf(values) = label.values {
            assert!(values.contains(&value), "{line}: {value} is not one of {values:?}");
        }
    }
}
