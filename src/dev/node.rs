//! One server process of the cluster: `fanlight serve`, as in production.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;

use super::haproxy::Backend;
use super::process::{Launch, Process, Signal};
use super::state::StateDir;

const READY_WITHIN: Duration = Duration::from_secs(30);
const PROBE_WITHIN: Duration = Duration::from_secs(2);
const STOP_WITHIN: Duration = Duration::from_secs(10);

pub struct Node {
    pub process: Process,
    address: Backend,
}

impl Node {
    /// Starts the node; [`Node::ready`] waits for it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(
        state: &StateDir,
        binary: &Path,
        settings: &Path,
        address: Backend,
        extra_env: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let mut env = vec![
            ("FANLIGHT__SERVER__LISTEN".to_owned(), format!("127.0.0.1:{}", address.http)),
            ("FANLIGHT__SERVER__INTERNAL_LISTEN".to_owned(), format!("127.0.0.1:{}", address.internal)),
        ];
        env.extend_from_slice(extra_env);
        let process = Process::start(Launch {
            binary: binary.to_path_buf(),
            args: vec!["serve".into(), "--config".into(), settings.into()],
            env,
            directory: state.path().to_path_buf(),
            log: state.path().join(format!("{}.log", address.name)),
            account: None,
            stop_signal: Signal::Term,
            grace: STOP_WITHIN,
        })?;
        Ok(Self { process, address })
    }

    /// Waits until the node takes connections.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let url = format!("{}/readyz", self.internal());
        self.process.ready(READY_WITHIN, || expect_ok(&url)).await
    }

    /// Starts the node again on its ports and waits until it takes connections; `env` is for this one start, such
    /// as a failpoint.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self, env: &[(String, String)]) -> anyhow::Result<()> {
        self.process.restart_with(env).await?;
        self.ready().await
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.address.name
    }

    /// Where clients reach this node directly.
    #[must_use]
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.address.http)
    }

    /// Health and metrics.
    #[must_use]
    pub fn internal(&self) -> String {
        format!("http://127.0.0.1:{}", self.address.internal)
    }
}

/// Succeeds when `url` answers with a 2xx.
pub(super) async fn expect_ok(url: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(PROBE_WITHIN).no_proxy().build()?;
    let status = client.get(url).send().await?.status();
    if !status.is_success() {
        bail!("{url} answers {status}");
    }
    Ok(())
}
