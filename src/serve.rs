//! One node as a process: from its settings to the signal that ends it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::Config;
use crate::shutdown::Shutdown;
use crate::{db, systemd, telemetry};

/// Files that a node needs besides clients and Postgres: itself, Redis and the push service (128), probes (64), and
/// refusals while they are said (256).
const OWN_FILES: usize = 448;
/// With fewer clients than this a node is not worth starting.
const CLIENTS_MIN: usize = 16;

/// Runs until the process is asked to stop; a second signal means "now".
///
/// # Errors
/// One sentence: what of the settings, the addresses or the schema does not fit.
pub async fn serve(mut config: Config, migrate: bool) -> anyhow::Result<()> {
    // Dropped last: what a node says at its end is written too.
    let _logs = telemetry::logs::start(&config.log)?;
    if let Some(files) = raise_file_limit() {
        keep_files_free(&mut config, files)?;
    }
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

/// All of a program that starts a cluster and is its nodes, too, so that no other program has to be built or can be out
/// of date: serves if this process was started as a cluster starts its nodes, otherwise does `work`. What goes wrong is
/// said on standard error, behind the program's name.
pub async fn be_a_node_or(program: &str, work: impl AsyncFnOnce() -> anyhow::Result<ExitCode>) -> ExitCode {
    install_crypto();
    let done = match serve_if_asked().await {
        Some(served) => served.map(|()| ExitCode::SUCCESS),
        None => work().await,
    };
    done.unwrap_or_else(|error| {
        eprintln!("{program}: {error:#}");
        ExitCode::FAILURE
    })
}

/// Serves, if the command is `serve --config FILE`.
async fn serve_if_asked() -> Option<anyhow::Result<()>> {
    let mut arguments = std::env::args_os().skip(1);
    let asked = arguments.next()? == "serve" && arguments.next()? == "--config";
    let settings = arguments.next().filter(|_| asked)?;
    let served = async { serve(Config::load(Some(Path::new(&settings)))?, false).await };
    Some(served.await.context("a node cannot run"))
}

/// Several crates bring a provider of cryptography; this says which one they all use.
pub fn install_crypto() {
    // Fails only if one is installed already, and then that one is as good.
    let _already = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _already = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

/// A socket is a file: the soft limit that most systems set is too low for a node. Returns the limit, if it is known.
fn raise_file_limit() -> Option<usize> {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => Some(usize::try_from(limit).unwrap_or(usize::MAX)),
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            None
        }
    }
}

/// Lets in no more clients than leave files for everything else. Without one left, a node could neither tell the
/// others that it is full, nor answer a probe, nor connect to its stores again.
fn keep_files_free(config: &mut Config, files: usize) -> anyhow::Result<()> {
    let own = OWN_FILES + config.postgres.connections();
    let clients = files.saturating_sub(own);
    anyhow::ensure!(
        clients >= CLIENTS_MIN,
        "this system allows {files} open files; a node needs {own} for itself, and some for clients: raise the limit (`ulimit -n`)"
    );
    let handshakes = config.server.handshakes_max.min(clients / 4);
    let sockets = config.sockets.connections_max.min(clients - handshakes);
    if handshakes < config.server.handshakes_max || sockets < config.sockets.connections_max {
        tracing::warn!(
            files.max = files,
            sockets.connections_max = sockets,
            server.handshakes_max = handshakes,
            "this system allows few open files, and so fewer connections than configured"
        );
    }
    config.server.handshakes_max = handshakes;
    config.sockets.connections_max = sockets;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_a_node_the_files_that_it_needs() {
        let config = Config::load(None).unwrap();
        let own = OWN_FILES + config.postgres.connections();
        let clients = |files: usize| {
            let mut config = config.clone();
            keep_files_free(&mut config, files)
                .map(|()| (config.server.handshakes_max, config.sockets.connections_max))
        };
        assert_eq!(clients(own + 400).unwrap(), (100, 300));
        assert_eq!(clients(own + 8_192).unwrap(), (1_024, 7_168));
        assert_eq!(clients(1_048_576).unwrap(), (1_024, 100_000));
        assert!(clients(own).unwrap_err().to_string().contains("ulimit"));
    }
}
