//! What happens when more clients come than the system allows a node files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use fanlight::dev::cluster::ClusterOptions;
use tokio::net::TcpStream;

use crate::client::Api;
use crate::socket::Socket;
use crate::stage::{PATIENT, Stage, options, seq, until};

const FILES_MAX: usize = 700;
/// Who says nothing; with them alone all files would be taken.
const SILENT: usize = FILES_MAX;

/// The program, allowed so few files.
fn confined(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("fanlight");
    let program = env!("CARGO_BIN_EXE_fanlight");
    std::fs::write(&path, format!("#!/bin/sh\nulimit -n {FILES_MAX} && exec {program} \"$@\"\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn try_connect(stage: &Stage) -> Result<Socket, u16> {
    let url = format!("{}/ws?token={}&since=1", stage.node(0), stage.bob.access_token);
    Socket::try_open(&url, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_file_left_is_refused_and_who_is_there_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = PATIENT.to_vec();
    let many = FILES_MAX.to_string();
    settings.push(("FANLIGHT__SOCKETS__CONNECTIONS_PER_USER_MAX", &many));
    let options = ClusterOptions { nodes: 2, binary: confined(folder.path()), ..options(&settings) };
    let stage = Stage::set_on(options).await;

    let mut sockets = Vec::new();
    let refused = loop {
        match try_connect(&stage).await {
            Ok(socket) => sockets.push(socket),
            Err(status) => break status,
        }
    };
    assert_eq!(refused, 503);
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(TcpStream::connect(stage.node(0).trim_start_matches("http://")).await.unwrap());
    }
    // New connections of its own, and of its load balancer.
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fanlight'")
        .execute(&stage.pool)
        .await
        .unwrap();
    let internal = Api::anonymous(&stage.cluster.nodes[0].internal());
    until("the node is ready", async || internal.get("/readyz").await.status == 200).await;
    assert_eq!(stage.metric(0, "fanlight_accept_failures_total", "").await, 0, "it ran out of files");
    drop(silent);
    let ann = stage.ann.at(&stage.node(0));
    until("there is room for a request", async || ann.get("/me").await.status == 200).await;
    stage.ann_sets(0, "BUSY").await;
    for socket in &mut sockets {
        assert_eq!(seq(&socket.expect_event("PARTNER_STATUS_CHANGED").await), 2);
    }

    for socket in sockets {
        socket.close().await;
    }
    until("there is room again", async || try_connect(&stage).await.is_ok()).await;
}
