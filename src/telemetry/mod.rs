//! What the process tells about itself: logs, and numbers for Prometheus.

use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use crate::shutdown::Shutdown;
use crate::telemetry::vitals::Vitals;

pub mod catalogue;
mod vitals;

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
    let mut builder = PrometheusBuilder::new();
    for metric in catalogue::all() {
        if let catalogue::Kind::Histogram(buckets) = metric.kind {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(name, buckets).context(metric.name)?;
        }
    }
    let handle = builder.install_recorder().context("cannot start the metrics")?;
    catalogue::begin();
    metrics::gauge!("fanlight_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let (upkeep, stop) = (handle.clone(), shutdown.clone());
    shutdown.spawn("telemetry.upkeep", async move {
        let mut vitals = Vitals::new(tokio::runtime::Handle::current().metrics());
        while stop.unless_stopped(tokio::time::sleep(UPKEEP_INTERVAL)).await.is_some() {
            vitals.publish().await;
            // Without it, histograms that nobody scrapes grow without bound.
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

/// A count or a size as the value of a gauge.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
pub fn as_gauge(amount: usize) -> f64 {
    amount as f64
}
