//! What happens when Redis speaks TLS.

use std::path::{Path, PathBuf};
use std::process::Command;

use fanlight::dev::ports;
use fanlight::dev::redis::Redis;

use crate::client::Api;
use crate::stage::{Stage, until};
use crate::stores::{Watchers, listeners, redis};

fn openssl(folder: &Path, args: &str) {
    let output = Command::new("openssl").args(args.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority of its own.
fn authority(folder: &Path, name: &str) -> PathBuf {
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(folder, &format!("{new} -subj /CN={name} -keyout {name}.key -out {name}.pem"));
    folder.join(format!("{name}.pem"))
}

/// A Redis with a certificate that the authority has signed, and where it speaks TLS.
async fn redis_with_tls(stage: &Stage, folder: &Path, authority: &str) -> (Redis, String) {
    let new = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(folder, &format!("{new} -subj /CN=redis -keyout redis.key -out redis.csr"));
    std::fs::write(folder.join("redis.ext"), "subjectAltName=IP:127.0.0.1").unwrap();
    let sign = format!("x509 -req -days 2 -CA {authority}.pem -CAkey {authority}.key -CAcreateserial");
    openssl(folder, &format!("{sign} -in redis.csr -extfile redis.ext -out redis.pem"));
    if let Some(account) = stage.cluster.state.account() {
        account.own(&folder.join("redis.key")).unwrap();
    }
    let port = ports::free().unwrap();
    let [certificate, key] = ["redis.pem", "redis.key"].map(|file| folder.join(file).display().to_string());
    let text = port.to_string();
    let tls = [
        "--tls-port",
        &text,
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
    ];
    let args = [&["--save", "", "--appendonly", "no"], &tls[..]].concat();
    let server =
        Redis::launch(&stage.cluster.state, "redis-tls", ports::free().unwrap(), &args).await.unwrap();
    (server, format!("rediss://127.0.0.1:{port}/"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_speak_tls_to_a_redis_whose_authority_they_know_and_to_no_other() {
    let mut stage = Stage::set_patient().await;
    let folder = stage.cluster.state.folder("tls").unwrap();
    let (ours, other) = (authority(&folder, "ours"), authority(&folder, "other"));
    let (server, url) = redis_with_tls(&stage, &folder, "ours").await;
    let trusting = |authority: &Path| {
        [("FANLIGHT__REDIS__URL", url.clone()), ("FANLIGHT__REDIS__CA_FILE", authority.display().to_string())]
            .map(|(name, value)| (name.to_owned(), value))
    };
    for node in &mut stage.cluster.nodes {
        node.restart(&trusting(&ours)).await.unwrap();
    }
    let mut redis = redis(&server.url()).await;
    until("all nodes listen", async || listeners(&mut redis).await == 3).await;
    let mut watchers = Watchers::new(&stage).await;
    for node in 0..3 {
        stage.ann_sets(node, "BUSY").await;
    }
    watchers.saw_everything(&stage).await;

    let log = stage.cluster.state.path().join("node-1.log");
    stage.cluster.nodes[0].restart(&trusting(&other)).await.unwrap();
    until("the node says why", async || std::fs::read_to_string(&log).unwrap().contains("UnknownIssuer"))
        .await;
    assert_eq!(listeners(&mut redis).await, 2);
    // Without the others it serves all the same.
    Api::anonymous(&stage.cluster.nodes[0].internal()).get("/readyz").await.expect(200);
    stage.ann_sets(0, "AVAILABLE").await;
}
