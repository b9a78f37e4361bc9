//! `clients/js` in Node: its own tests, and its duties against a cluster that is broken under it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fanlight::config::Config;
use fanlight::dev::cluster::Cluster;
use fanlight::dev::process::Signal;
use fanlight::domain::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout};

use crate::client::{Api, Client, DEADLINE};
use crate::rooms::{ROOMY, room_of_two};
use crate::shared;
use crate::stage::{Stage, options, seq};
use crate::toolbox::toolbox;

/// Generous: on a busy machine everything between two steps may take its time.
const PATIENCE: Duration = Duration::from_secs(60);

fn client_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/js")
}

/// `test/follow.js`: a client that says what it sees, line by line.
struct Phone {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    /// The seqs it has seen.
    seqs: Vec<i64>,
    states: Vec<Value>,
    /// The messages of its room, each as its seq and what it says.
    heard: Vec<(i64, String)>,
}

impl Phone {
    fn start(options: &Value) -> Self {
        let mut child = Command::new(&toolbox().node)
            .arg(client_folder().join("test/follow.js"))
            .arg(options.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let output = BufReader::new(output).lines();
        Self { child, input, output, seqs: Vec::new(), states: Vec::new(), heard: Vec::new() }
    }

    /// Reads on until `found` finds what it looks for in a line.
    async fn until<T>(&mut self, what: &str, mut found: impl FnMut(&Value) -> Option<T>) -> T {
        let search = async {
            loop {
                let line = self.output.next_line().await.unwrap();
                let line: Value = serde_json::from_str(&line.expect("the phone goes on")).unwrap();
                if line["event"].is_object() {
                    self.seqs.push(seq(&line["event"]));
                }
                if line["state"].is_string() {
                    self.states.push(line.clone());
                }
                let read = line["read"].as_array().into_iter().flatten();
                let told = Some(&line["heard"]).filter(|heard| heard["type"] == "MESSAGE_CREATED");
                self.heard
                    .extend(read.chain(told).map(|it| (seq(it), it["content"].as_str().unwrap().to_owned())));
                assert!(line["resync"].is_null(), "{line}");
                if let Some(answer) = found(&line) {
                    return answer;
                }
            }
        };
        let found = timeout(PATIENCE, search).await;
        found.unwrap_or_else(|_| panic!("never: {what}; seen {:?}, states {:?}", self.seqs, self.states))
    }

    async fn until_open(&mut self) {
        self.until("it is open", |line| (line["state"] == "open").then_some(())).await;
    }

    /// Until everything that was missed has been handled.
    async fn until_current(&mut self) -> i64 {
        self.until("it is current", |line| line["current"]["seq"].as_i64()).await
    }

    async fn until_seq(&mut self, last: i64) {
        if self.seqs.last().is_none_or(|&seen| seen < last) {
            self.until(&format!("seq {last}"), |line| (line["event"]["seq"] == last).then_some(())).await;
        }
    }

    /// Writes in its room. It is answered when it can be.
    async fn write(&mut self, contents: impl Iterator<Item = String>) {
        for content in contents {
            self.input.as_mut().unwrap().write_all(format!("{content}\n").as_bytes()).await.unwrap();
        }
    }

    async fn until_live(&mut self) {
        self.until("it is in its room", |line| (line["room"] == "live").then_some(())).await;
    }

    async fn until_heard(&mut self, last: i64) {
        while self.heard.last().is_none_or(|(seq, _)| *seq < last) {
            let what = format!("message {last}, after {:?}", self.heard.last());
            self.until(&what, |line| (line["heard"].is_object() || line["read"].is_array()).then_some(()))
                .await;
        }
    }

    /// Ends as an app that is closed by its user.
    async fn close(mut self) {
        drop(self.input.take());
        assert!(timeout(DEADLINE, self.child.wait()).await.unwrap().unwrap().success());
    }
}

#[tokio::test]
async fn the_javascript_client_passes_its_own_tests() {
    let node = Command::new(&toolbox().node)
        .args(["--test", "--test-reporter=spec", "test/*.test.js"])
        .current_dir(client_folder())
        .output();
    let output = timeout(PATIENCE * 2, node).await.expect("they end").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The index of the node that holds the only socket there is.
async fn holder(stage: &Stage) -> usize {
    shared::eventually(DEADLINE, "a node holds the socket", async || {
        for (index, node) in stage.cluster.nodes.iter().enumerate() {
            let Ok(report) = reqwest::get(format!("{}/readyz", node.internal())).await else { continue };
            let report: Value = report.json().await.unwrap_or_default();
            if report["connections"].as_u64() > Some(0) {
                return Some(index);
            }
        }
        None
    })
    .await
}

/// Changes Ann's light so many times through this node. Returns Bob's last seq.
async fn changes(stage: &Stage, node: usize, times: usize) -> i64 {
    for turn in 0..times {
        stage.ann_sets(node, ["AVAILABLE", "BUSY"][turn % 2]).await;
    }
    stage.outcomes(&stage.bob).await.last().unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_javascript_client_whose_node_is_killed_comes_back_and_misses_nothing() {
    let mut stage = Stage::set_patient().await;
    let storage = tempfile::tempdir().unwrap();
    let url = format!("{}/ws", stage.cluster.url());
    let options = json!({"urls": [url], "token": stage.bob.access_token, "storage": storage.path()});
    let mut phone = Phone::start(&options);
    let first = phone.until_current().await;

    for _ in 0..2 {
        let victim = holder(&stage).await;
        let survivor = (victim + 1) % stage.cluster.nodes.len();
        let before = changes(&stage, survivor, 5).await;
        phone.until_seq(before).await;
        stage.cluster.nodes[victim].process.signal(Signal::Kill).unwrap();
        let last = changes(&stage, survivor, 10).await;
        phone.until_seq(last).await;
        stage.cluster.nodes[victim].restart(&[]).await.unwrap();
    }
    let waits = phone.states.iter().filter(|state| state["state"] == "waiting").count();
    assert!(waits >= 2, "{:?}", phone.states);

    // The app is killed in the middle, and goes on where its storage says.
    let mut seen = std::mem::take(&mut phone.seqs);
    phone.child.kill().await.unwrap();
    let survivor = 0;
    let last = changes(&stage, survivor, 5).await;
    let mut phone = Phone::start(&options);
    phone.until_seq(last).await;
    seen.append(&mut phone.seqs);
    assert_eq!(seen, (first + 1..=last).collect::<Vec<_>>(), "each once and in order");

    stage.until_settled_for(&stage.bob).await;
    let reasons: Vec<(String, i64)> =
        sqlx::query_as("SELECT reason, count(*) FROM events WHERE user_id = $1 AND seq > $2 GROUP BY reason")
            .bind(stage.bob.id.parse::<uuid::Uuid>().unwrap())
            .bind(first)
            .fetch_all(&stage.pool)
            .await
            .unwrap();
    assert!(reasons.iter().any(|(reason, _)| reason == "ack"), "{reasons:?}");
    assert!(reasons.iter().all(|(reason, _)| reason == "ack" || reason == "resumed"), "{reasons:?}");
    phone.close().await;
}

#[tokio::test]
async fn a_javascript_client_is_sent_away_by_a_node_that_drains_and_takes_its_hint() {
    let stage = Stage::set_patient().await;
    let options = json!({"urls": [format!("{}/ws", stage.cluster.url())], "token": stage.bob.access_token});
    let mut phone = Phone::start(&options);
    phone.until_current().await;

    let node = &stage.cluster.nodes[holder(&stage).await];
    Api::anonymous(&node.internal()).post("/drain", Value::Null).await.expect(202);

    let wait = phone.until("it waits", |line| (line["state"] == "waiting").then(|| line.clone())).await;
    assert_eq!((wait["code"].as_u64(), wait["advice"].as_str()), (Some(1012), Some("resume")));
    assert!(wait["waitMs"].as_u64() <= Some(1_000), "{wait}");
    phone.until_open().await;
    phone.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_clients_chat_over_two_nodes_one_of_which_is_killed() {
    let mut stage = Stage::set_on(options(&ROOMY)).await;
    let room = room_of_two(&stage).await;
    let storage = tempfile::tempdir().unwrap();
    let socket = |node: usize| format!("{}/ws", stage.node(node));
    let apps = [(&stage.ann, [0, 2]), (&stage.bob, [1, 2])].map(|(client, nodes)| {
        let store = storage.path().join(&client.id);
        json!({"urls": nodes.map(socket), "token": client.access_token, "room": room, "storage": store})
    });
    let [mut ann, mut bob] = apps.each_ref().map(Phone::start);
    ann.until_live().await;
    bob.until_live().await;
    let said = |who: &str, from: i64, count: i64| {
        (from..from + count).map(|number| format!("{who} {number}")).collect::<Vec<_>>()
    };

    ann.write(said("ann", 0, 10).into_iter()).await;
    bob.write(said("bob", 0, 10).into_iter()).await;
    bob.until_heard(5).await;
    // In the middle of it, and what is written meanwhile waits.
    stage.cluster.nodes[1].process.signal(Signal::Kill).unwrap();
    bob.write(said("bob", 10, 10).into_iter()).await;
    ann.write(said("ann", 10, 10).into_iter()).await;
    ann.until_heard(40).await;
    bob.until_heard(40).await;
    assert!(bob.states.iter().any(|state| state["state"] == "waiting"), "{:?}", bob.states);

    // The app is killed, and goes on where its storage says.
    let mut heard = std::mem::take(&mut ann.heard);
    ann.child.kill().await.unwrap();
    bob.write(said("bob", 20, 5).into_iter()).await;
    bob.until_heard(45).await;
    let mut ann = Phone::start(&apps[0]);
    ann.until_heard(45).await;
    heard.append(&mut ann.heard);
    // Between the handler and the storage the app's end can repeat a message.
    heard.dedup();

    assert_eq!(heard, bob.heard, "both hear the same");
    assert_eq!(heard.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (1..=45).collect::<Vec<_>>());
    for (who, count) in [("ann", 20), ("bob", 25)] {
        let theirs = heard.iter().map(|(_, content)| content).filter(|it| it.starts_with(who));
        assert!(theirs.eq(&said(who, 0, count)), "each is written once, and in order: {heard:?}");
    }
    ann.close().await;
    bob.close().await;
}

#[tokio::test]
async fn a_javascript_client_outlives_its_token() {
    const LIFE: Duration = Duration::from_secs(16);
    /// How far the clocks of nodes may differ.
    const TOLERANCE: Duration = Duration::from_secs(6);
    let (ada, ben) = shared::couple().await;
    let cluster = shared::cluster().await;
    // Before the token is made: the installation may outlast it.
    toolbox();
    let started = Instant::now();
    let options = json!({
        "urls": [format!("{}/ws", cluster.nodes[0].http())], "api": cluster.url(),
        "token": short_lived(cluster, &ben, LIFE), "refreshToken": ben.refresh_token,
    });
    let mut phone = Phone::start(&options);
    phone.until("a renewal", |line| (line["renewed"] == "renew").then_some(())).await;
    shared::eventually(PATIENCE, "the first token has ended", async || {
        (started.elapsed() > LIFE + TOLERANCE).then_some(())
    })
    .await;

    ada.patch("/status", json!({"status": "BUSY"})).await.expect(200);
    phone.until("the event", |line| (line["event"]["status"] == "BUSY").then_some(())).await;
    assert!(phone.states.iter().all(|state| state["state"] != "waiting"), "{:?}", phone.states);
    phone.close().await;
}

/// A token of the same session as the client's own, that ends sooner.
fn short_lived(cluster: &Cluster, client: &Client, life: Duration) -> String {
    fanlight::serve::install_crypto();
    let settings = cluster.state.path().join("fanlight.toml");
    let keys = Config::load(Some(&settings)).unwrap().auth.key_ring().unwrap();
    let claims = keys.verify(&client.access_token, SystemClock.now()).unwrap();
    keys.mint(claims.sub, claims.sid, SystemClock.now(), life)
}
