//! Runs every command of README.md that a person would copy, beside a real `fanlight dev`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fanlight::dev::ports;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Api;
use crate::shared::eventually;

const READY_WITHIN: Duration = Duration::from_secs(120);

/// `fanlight dev`. What it started ends with it, so that a failed test leaves nothing behind.
pub struct Dev {
    process: Child,
    /// `dev.json`
    pub manifest: Value,
    pub state: PathBuf,
    _folder: TempDir,
}

impl Dev {
    /// Waits until it is ready.
    pub async fn start(nodes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Started by root, the stores run as somebody else, who must get through.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let state = folder.path().join("dev");
        let port = ports::free().unwrap().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanlight"));
        command.args(["dev", "--nodes", &nodes.to_string(), "--port", &port, "--state"]).arg(&state);
        // Hashing well takes long in a debug build, and is not what the tests are about.
        command.stdout(Stdio::null()).env("FANLIGHT__ACCOUNTS__HASHING_MEMORY_KIB", "64");
        let mut dev = Self {
            process: command.spawn().unwrap(),
            manifest: Value::Null,
            state: state.clone(),
            _folder: folder,
        };
        dev.manifest = eventually(READY_WITHIN, "dev.json", async || {
            serde_json::from_str(&std::fs::read_to_string(state.join("dev.json")).ok()?).ok()
        })
        .await;
        dev
    }

    /// As Ctrl-C in the terminal of `./run`.
    pub fn stop(mut self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
        assert!(self.process.wait().unwrap().success());
        assert!(!self.state.join("dev.json").exists());
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It has ended already if all went well.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// The `sh` blocks of the page, in order, as one script: later ones use what earlier ones set.
fn script() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> =
        page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() > 8, "the page has lost its examples");
    format!("set -euo pipefail\n{}", blocks.concat())
}

#[tokio::test]
async fn every_command_of_the_readme_runs_as_it_stands() {
    let dev = Dev::start(1).await;

    let output = Command::new("bash").args(["-c", &script()]).env("STATE", &dev.state).output().unwrap();

    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    for shown in ["\"linkCode\":", "\"CONFIRMED\"", "\"BUSY\"", "\"keys\":", "\"created\":true"] {
        assert!(said.contains(shown), "no {shown} in {said}");
    }
    let fcm = Api::anonymous(dev.manifest["fcm"].as_str().unwrap());
    eventually(READY_WITHIN, "the push that the page promises", async || {
        let log = fcm.get("/log").await.expect(200).to_string();
        (log.contains("ben-fcm-token") && log.contains("BUSY")).then_some(())
    })
    .await;
    dev.stop();
}
