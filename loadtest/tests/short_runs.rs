//! The load test, briefly: a short day loses nothing, a loss is found, and a cluster that runs already will do.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output};

/// Runs it; the times are for machines that have nothing else to do.
fn run(arguments: &[&str]) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let html = folder.path().join("report.html");
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["--increase-rate", "50", "--p99-ms", "60000", "--errors-percent", "50", "--report-file"])
        .arg(&html)
        .args(["--quiet", "--no-print-metrics"])
        .args(arguments)
        .output()
        .unwrap();
    (output, std::fs::read_to_string(html).unwrap_or_default())
}

fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_short_day_on_two_nodes_loses_nothing() {
    let day = ["--nodes", "2", "--users", "6", "--run-time", "8s", "--pace-ms", "300", "--storm-every", "3"];
    let (output, html) = run(&day);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("| lost | 0 |") && said.contains("| duplicates | 0 |"), "{said}");
    assert!(said.contains("| due → partner's frame | "), "{said}");
    // Goose's report has ours on top, and what its own tables say of sockets.
    assert!(html.contains("# Load test: passed") && html.contains("delivery"), "{html}");
}

#[test]
fn everybody_in_a_room_hears_everything_once_and_in_order() {
    // Rooms of two and of twenty.
    let chat =
        ["--nodes", "2", "--scenarios", "chat", "--users", "3", "--run-time", "8s", "--pace-ms", "300"];
    let (output, html) = run(&[&chat[..], &["--storm-every", "3"]].concat());
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("3 rooms with 24 people") && said.contains("| lost | 0 |"), "{said}");
    assert!(said.contains("| due → frame in a room | ") && said.contains("| WS resume | "), "{said}");
    assert!(html.contains("SEND") && html.contains("/channels/{id}/read"), "{html}");
}

#[cfg(feature = "seeded-bugs")]
#[test]
fn a_run_that_loses_events_fails() {
    let lossy = ["--seeded-bug", "drop_messages=10", "--settled-within", "4", "--scenarios", "pingpong"];
    let (output, _) = run(&[&lossy[..], &["--users", "3", "--run-time", "5s", "--pace-ms", "100"]].concat());
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("* **lost: ") && said.contains("* **out of order: "), "{said}");
}

#[tokio::test]
async fn a_cluster_that_runs_already_can_be_the_target() {
    use fanlight::dev::cluster::{Cluster, ClusterOptions};

    let env = vec![("FANLIGHT__ACCOUNTS__REGISTRATIONS_PER_ADDRESS_MAX".to_owned(), "100".to_owned())];
    let scratch = ClusterOptions::scratch(env!("CARGO_BIN_EXE_loadtest"));
    let cluster = Cluster::start(ClusterOptions { nodes: 1, env, ..scratch }).await.unwrap();
    let url = cluster.url();
    let output = tokio::task::spawn_blocking(move || {
        run(&["--target", &url, "--users", "3", "--run-time", "5s", "--scenarios", "pingpong,mixedday"]).0
    });
    let output = output.await.unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("| lost | 0 |") && said.contains("Pushes: not seen from here"), "{said}");
    cluster.stop().await;
}

#[test]
fn contradictions_are_refused() {
    for (arguments, complaint) in [
        (&["--users", "2"][..], "--run-time"),
        (&["--run-time", "5s"], "--users"),
        (&["--users", "2", "--run-time", "5s", "--host", "http://a"], "--target"),
        (&["--users", "2", "--run-time", "5s", "--target", "https://a"], "http://"),
        (&["--users", "2", "--run-time", "5s", "--target", "http://a", "--rolling-restart"], "--target"),
    ] {
        let (output, _) = run(arguments);
        assert!(!output.status.success() && said(&output).contains(complaint), "{}", said(&output));
    }
}
