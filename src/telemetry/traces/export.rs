//! The way of finished spans to a collector: a bounded queue, a thread of its own, and numbers of what was lost.
//!
//! A collector that is away, or slow, costs the spans that find no place in the queue, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use opentelemetry::Context;
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};
use reqwest::redirect::Policy;

use super::Config;

/// How long spans wait for others to travel with.
const GATHERED_FOR: Duration = Duration::from_secs(1);
const BATCH_SPANS_MAX: usize = 512;

/// Takes finished spans, as many as find a place.
#[derive(Debug)]
pub struct Queue {
    batches: BatchSpanProcessor,
    /// Spans that wait, or are on their way.
    waiting: Arc<AtomicUsize>,
    max: usize,
}

impl Queue {
    /// Starts the thread that sends them.
    ///
    /// # Errors
    /// When the endpoint is no URL, or TLS cannot be set up.
    pub fn start(config: &Config) -> anyhow::Result<Self> {
        let waiting = Arc::new(AtomicUsize::new(0));
        let exporter =
            Counted { otlp: otlp(config)?, waiting: Arc::clone(&waiting), well: AtomicBool::new(true) };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(config.queue_spans)
            .with_max_export_batch_size(BATCH_SPANS_MAX.min(config.queue_spans))
            .with_scheduled_delay(GATHERED_FOR)
            .build();
        let batches = BatchSpanProcessor::new(exporter, batches);
        Ok(Self { batches, waiting, max: config.queue_spans })
    }
}

fn otlp(config: &Config) -> anyhow::Result<opentelemetry_otlp::SpanExporter> {
    let timeout = Duration::from_millis(config.export_timeout_ms);
    let url = format!("{}/v1/traces", config.endpoint.trim_end_matches('/'));
    let build = || {
        // Where we connect to is a setting of ours, neither of the environment nor of who answers.
        let client = reqwest::blocking::Client::builder().no_proxy().redirect(Policy::none());
        let client = client.timeout(timeout).build()?;
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(url)
            .with_timeout(timeout)
            .build()?;
        anyhow::Ok(exporter)
    };
    // The client has a runtime inside, which cannot be made inside ours.
    std::thread::scope(|scope| scope.spawn(build).join())
        .map_err(|_| anyhow!("the client of the collector cannot be made"))?
        .context("telemetry.endpoint")
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        let place = |waiting: usize| (waiting < self.max).then_some(waiting + 1);
        if self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, place).is_ok() {
            self.batches.on_end(span);
        } else {
            metrics::counter!("fanlight_trace_spans_total", "result" => "dropped").increment(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Sends batches, and says what became of them.
#[derive(Debug)]
struct Counted {
    otlp: opentelemetry_otlp::SpanExporter,
    waiting: Arc<AtomicUsize>,
    /// Whether the collector took the last one.
    well: AtomicBool,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let sent = self.otlp.export(batch).await;
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        let result = if sent.is_ok() { "exported" } else { "failed" };
        metrics::counter!("fanlight_trace_spans_total", "result" => result).increment(count as u64);
        // Once each: the collector may be away for days.
        match (self.well.swap(sent.is_ok(), Ordering::Relaxed), &sent) {
            (true, Err(error)) => tracing::warn!(%error, "the collector takes no spans; they are lost"),
            (false, Ok(())) => tracing::info!("the collector takes spans again"),
            _ => {}
        }
        sent
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.otlp.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.otlp.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}
