//! `deploy/compose-smoke.sh`: what it looks at works here, and where no containers can run it says so.

use tokio::process::Command;

use crate::shared::cluster;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/compose-smoke.sh");

#[tokio::test]
async fn what_it_looks_at_works_in_a_cluster() {
    let url = cluster().await.url();

    let output = Command::new(SCRIPT).args(["--against", &url]).output().await.unwrap();

    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}{complaint}");
    assert_eq!(said.lines().last(), Some("compose-smoke: OK"), "{said}");
}

#[tokio::test]
async fn without_an_engine_it_says_so_in_one_line() {
    let mut command = Command::new(SCRIPT);
    // Where an engine runs, this test must not use it.
    command.env("DOCKER_HOST", "unix:///nowhere/docker.sock").env_remove("DOCKER_CONTEXT");

    let output = command.output().await.unwrap();

    assert_eq!(output.status.code(), Some(77));
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("compose-smoke: not run: ") && said.lines().count() == 1, "{said}");
}
