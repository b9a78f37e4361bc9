//! One node as a process: from its settings to the signal that ends it.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::Config;
use crate::shutdown::Shutdown;
use crate::{db, systemd, telemetry};

/// Runs until the process is asked to stop; a second signal means "now".
///
/// # Errors
/// One sentence: what of the settings, the addresses or the schema does not fit.
pub async fn serve(config: Config, migrate: bool) -> anyhow::Result<()> {
    telemetry::start_logs(&config.log)?;
    raise_file_limit();
    if migrate {
        db::migrate(&db::pool(&config.postgres)?).await.context("cannot bring the schema up to date")?;
    }
    let working = Shutdown::new();
    let metrics = telemetry::start_metrics(&working)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let app = App::start(config, metrics, working)?;
    systemd::ready();
    // Never stopped: a node that leaves is alive until it has left.
    systemd::answer_watchdog(&Shutdown::new());
    // Cancel-safe: signals and the stop token only say that something happened.
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = app.asked_to_stop() => {}
    }
    systemd::stopping();
    // Cancel-safe: the second signal means "now".
    tokio::select! {
        () = app.stop() => Ok(()),
        _ = terminate.recv() => anyhow::bail!("stopped at once, at the second signal"),
        _ = interrupt.recv() => anyhow::bail!("stopped at once, at the second signal"),
    }
}

/// Several crates bring a provider of cryptography; this says which one they all use.
pub fn install_crypto() {
    // Fails only if one is installed already, and then that one is as good.
    let _already = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _already = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

/// A socket is a file: the soft limit that most systems set is too low for a node.
fn raise_file_limit() {
    const ENOUGH: u64 = 65_536;
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < ENOUGH => {
            tracing::warn!(files.max = limit, "this system allows few open files, and so few connections");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
    }
}
