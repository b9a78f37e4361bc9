//! What the process tells about itself: logs, and numbers for Prometheus.

use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use crate::shutdown::Shutdown;

/// Seconds; from a local call to a push that hangs.
const DURATION_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Pretty,
    Json,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub format: Format,
    /// Levels by module, in the syntax of `EnvFilter`.
    pub filter: String,
}

/// Starts to write logs to standard output.
///
/// # Errors
/// When the filter is not valid, or logging was started before.
pub fn start_logs(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.filter).context("log.filter is not a valid filter")?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let started = match config.format {
        Format::Pretty => builder.try_init(),
        Format::Json => builder.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}

/// Starts to count. The handle renders what was counted.
///
/// # Errors
/// When it was started before.
pub fn start_metrics(shutdown: &Shutdown) -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&DURATION_BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .context("cannot start the metrics")?;
    metrics::gauge!("fanlight_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let (upkeep, stop) = (handle.clone(), shutdown.clone());
    shutdown.spawn("telemetry.upkeep", async move {
        // Without it, histograms that nobody scrapes grow without bound.
        while stop.unless_stopped(tokio::time::sleep(UPKEEP_INTERVAL)).await.is_some() {
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}
