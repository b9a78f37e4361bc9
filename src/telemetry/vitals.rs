//! How the process itself is: memory, file descriptors, processor, and how busy its threads are.

use std::time::{Duration, Instant};

use metrics_process::collector;
use tokio::runtime::RuntimeMetrics;

use super::as_gauge;

pub struct Vitals {
    runtime: RuntimeMetrics,
    seen_at: Instant,
    busy: Duration,
}

impl Vitals {
    pub fn new(runtime: RuntimeMetrics) -> Self {
        Self { seen_at: Instant::now(), busy: busy(&runtime), runtime }
    }

    /// Says how the process is now, and how busy it was since the last time.
    pub async fn publish(&mut self) {
        // Many descriptors take a while to count.
        if tokio::task::spawn_blocking(publish_process).await.is_err() {
            tracing::warn!("the process cannot look at itself");
        }
        let workers = self.runtime.num_workers();
        metrics::gauge!("fanlight_runtime_workers").set(as_gauge(workers));
        metrics::gauge!("fanlight_runtime_queue_depth").set(as_gauge(self.runtime.global_queue_depth()));
        let (now, busy) = (Instant::now(), busy(&self.runtime));
        let possible = now.duration_since(self.seen_at).as_secs_f64() * as_gauge(workers);
        let worked = busy.saturating_sub(self.busy).as_secs_f64();
        metrics::gauge!("fanlight_runtime_busy_ratio").set(worked / possible);
        (self.seen_at, self.busy) = (now, busy);
    }
}

/// What the system does not tell is left out.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time since the start")]
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn publish_process() {
    let process = collector::collect();
    if let Some(seconds) = process.cpu_seconds_total {
        metrics::counter!("process_cpu_seconds_total").absolute(seconds as u64);
    }
    if let Some(count) = process.open_fds {
        metrics::gauge!("process_open_fds").set(count as f64);
    }
    // An unlimited number is said as 0, and divides by nothing.
    if let Some(count) = process.max_fds.filter(|count| *count > 0) {
        metrics::gauge!("process_max_fds").set(count as f64);
    }
    if let Some(bytes) = process.resident_memory_bytes {
        metrics::gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
    if let Some(bytes) = process.virtual_memory_bytes {
        metrics::gauge!("process_virtual_memory_bytes").set(bytes as f64);
    }
    if let Some(seconds) = process.start_time_seconds {
        metrics::gauge!("process_start_time_seconds").set(seconds as f64);
    }
    if let Some(count) = process.threads {
        metrics::gauge!("process_threads").set(count as f64);
    }
}

fn busy(runtime: &RuntimeMetrics) -> Duration {
    (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker)).sum()
}
