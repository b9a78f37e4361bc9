//! `HAProxy` in front of the nodes, set up as in production (`deploy/haproxy/haproxy.cfg`).
//!
//! Probes each node on its internal port: 200 takes new connections, 404 (draining) keeps its sockets but gets no
//! new ones, anything else is down, and its clients are cut off so that they reconnect at once.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::binaries::{self, Program};
use super::node;
use super::ports;
use super::process::{Launch, Process, Signal};
use super::state::StateDir;

const READY_WITHIN: Duration = Duration::from_secs(20);
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// Where one node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    pub name: String,
    pub http: u16,
    pub internal: u16,
}

pub struct Haproxy {
    pub process: Process,
    port: u16,
}

impl Haproxy {
    /// Starts `HAProxy` on `port` or a free one, and waits until a request comes through it.
    ///
    /// # Errors
    /// When it is not installed, the port is taken, or no node answers.
    pub async fn start(state: &StateDir, port: Option<u16>, backends: &[Backend]) -> anyhow::Result<Self> {
        let port = port.map_or_else(ports::free, Ok)?;
        let file = state.path().join("haproxy.cfg");
        std::fs::write(&file, config(port, backends)).context("cannot write the configuration of HAProxy")?;
        let process = Process::start(launch(state, &file)?)?;
        let mut haproxy = Self { process, port };
        haproxy.ready().await?;
        Ok(haproxy)
    }

    /// Waits until a request comes through it.
    ///
    /// # Errors
    /// When none does in time.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let url = format!("{}/health", self.url());
        self.process.ready(READY_WITHIN, || node::expect_ok(&url)).await
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn launch(state: &StateDir, file: &Path) -> anyhow::Result<Launch> {
    Ok(Launch {
        binary: binaries::find(Program::Haproxy)?,
        // In the foreground, quiet.
        args: vec!["-db".into(), "-q".into(), "-f".into(), file.into()],
        env: Vec::new(),
        directory: state.path().to_path_buf(),
        log: state.path().join("haproxy.log"),
        account: None,
        stop_signal: Signal::Term,
        grace: STOP_WITHIN,
    })
}

fn config(port: u16, backends: &[Backend]) -> String {
    let mut text = format!(
        "global
    maxconn 10000
    # A machine with few file descriptors serves fewer connections, rather than none.
    no strict-limits
    hard-stop-after 5s

defaults
    mode http
    timeout connect 3s
    timeout client 10s
    timeout server 30s
    timeout client-fin 5s
    timeout tunnel 1h
    option forwardfor
    option redispatch
    retries 2

frontend public
    bind 127.0.0.1:{port}
    default_backend nodes

backend nodes
    balance leastconn
    option httpchk GET /readyz
    http-check disable-on-404
    default-server check inter 500ms fall 2 rise 1
"
    );
    for Backend { name, http, internal } in backends {
        writeln!(text, "    server {name} 127.0.0.1:{http} port {internal}")
            .expect("writing to a string never fails");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn haproxy_accepts_the_configuration_without_a_warning() {
        let backends = [
            Backend { name: "node-1".into(), http: 7001, internal: 7101 },
            Backend { name: "node-2".into(), http: 7002, internal: 7102 },
        ];
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config(8080, &backends)).unwrap();

        let output =
            Command::new(binaries::find(Program::Haproxy).unwrap()).arg("-c").arg("-f").arg(&file).output();

        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(!said.contains("WARNING"), "{said}");
    }

    #[test]
    fn the_shipped_configuration_is_valid() {
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/haproxy/haproxy.cfg");

        let output = Command::new(binaries::find(Program::Haproxy).unwrap())
            .args(["-c", "-f", shipped])
            .output()
            .unwrap();

        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
