//! What happens when the load balancer cuts whoever is silent for long.

use std::time::Duration;

use tokio::time::Instant;

use crate::stage::{PATIENT, Stage, options, seq, until};

const TUNNEL_TIMEOUT: Duration = Duration::from_secs(4);

/// A couple whose nodes ping so often, behind a load balancer of little patience.
async fn stage_with_heartbeat(ms: &str) -> Stage {
    let mut settings = PATIENT.to_vec();
    settings.push(("FANLIGHT__SOCKETS__HEARTBEAT_MS", ms));
    let mut stage = Stage::set_on(options(&settings)).await;
    let file = stage.cluster.state.path().join("haproxy.cfg");
    let config = std::fs::read_to_string(&file).unwrap();
    let impatient =
        config.replace("timeout tunnel 1h", &format!("timeout tunnel {}s", TUNNEL_TIMEOUT.as_secs()));
    assert_ne!(impatient, config);
    std::fs::write(&file, impatient).unwrap();
    stage.cluster.haproxy.process.restart().await.unwrap();
    stage.cluster.haproxy.ready().await.unwrap();
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_a_proxy_cuts_for_its_silence_resumes_without_a_loss() {
    let stage = stage_with_heartbeat("600000").await;
    let mut cut = stage.bob.connect(&stage.cluster.url(), "since=1").await;
    stage.ann_sets(0, "BUSY").await;
    assert_eq!(seq(&cut.expect_event("PARTNER_STATUS_CHANGED").await), 2);
    stage.until_known(&stage.bob).await;

    let (code, _) = cut.expect_close().await;

    assert_eq!(code, 1006);
    // The node has noticed as well, and counts nobody as there who is not.
    stage.until_absent().await;
    stage.ann_sets(1, "AVAILABLE").await;
    let mut resumed = stage.bob.connect(&stage.cluster.url(), "since=2").await;
    assert_eq!(seq(&resumed.expect_event("PARTNER_STATUS_CHANGED").await), 3);
    resumed.expect_nothing_more().await;
    stage.until_settled_for(&stage.bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_pinged_often_enough_is_not_cut() {
    let stage = stage_with_heartbeat("500").await;
    let mut socket = stage.bob.connect(&stage.cluster.url(), "since=1").await;
    let connected = Instant::now();

    until("a silent one were cut", async || connected.elapsed() > TUNNEL_TIMEOUT * 3).await;

    stage.ann_sets(0, "BUSY").await;
    assert_eq!(seq(&socket.expect_event("PARTNER_STATUS_CHANGED").await), 2);
    socket.expect_nothing_more().await;
}
