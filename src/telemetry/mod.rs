//! What the process tells about itself: logs, numbers for Prometheus, and traces.

use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::shutdown::Shutdown;
use crate::telemetry::vitals::Vitals;

pub mod catalogue;
pub mod logs;
pub mod traces;
mod vitals;

const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

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
