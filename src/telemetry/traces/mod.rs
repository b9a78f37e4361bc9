//! Traces: what each step of an event's way took, on whatever nodes, for a collector that speaks OTLP.
//!
//! Whether a request is traced is decided once, at its start; everything that comes of it follows. Its [`TraceContext`] travels
//! in the task ([`current`]), in the event's row, and in the broker's envelope. `docs/tracing.md` lists the spans.

use std::fmt::Display;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{bail, ensure};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, Sampler, SdkTracer, SdkTracerProvider};
use serde::Deserialize;

mod context;
mod export;
mod span;

pub use context::{Incoming, TraceContext};
pub use opentelemetry::trace::SpanKind;
pub use span::{Span, current, now, statement};

/// What is still to be sent when the process stops has this long.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

/// Set once, and only where anything is traced.
static TRACER: OnceLock<Tracer> = OnceLock::new();

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The base URL of a collector; empty: nothing is traced.
    pub endpoint: String,
    /// Which share of the requests is traced.
    pub sample_ratio: f64,
    /// Whether a request that its caller has decided on is traced as its caller says.
    pub follow_callers: bool,
    pub service_name: String,
    /// Spans that may wait to be sent; more are dropped.
    pub queue_spans: usize,
    /// How long the collector may take for one batch.
    pub export_timeout_ms: u64,
}

impl Config {
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (0.0..=1.0).contains(&self.sample_ratio),
            "telemetry.sample_ratio must be between 0.0 and 1.0"
        );
        if self.queue_spans == 0 || self.export_timeout_ms == 0 {
            bail!("telemetry.queue_spans and telemetry.export_timeout_ms must be at least 1");
        }
        let is_http = ["http://", "https://"].iter().any(|scheme| self.endpoint.starts_with(scheme));
        ensure!(
            self.endpoint.is_empty() || is_http,
            "telemetry.endpoint must be a URL such as http://collector:4318, or empty"
        );
        Ok(())
    }
}

/// Makes spans.
#[derive(Debug)]
struct Tracer {
    sdk: SdkTracer,
    sampling: Sampling,
}

/// Which requests are traced.
#[derive(Clone, Copy, Debug)]
struct Sampling {
    ratio: f64,
    follow_callers: bool,
}

impl Sampling {
    /// The caller's trace id has no say: who may choose it could choose to be traced.
    fn takes(self, incoming: Option<Incoming>, dice: u32) -> bool {
        match incoming {
            Some(incoming) if self.follow_callers => incoming.sampled,
            _ => f64::from(dice) / (f64::from(u32::MAX) + 1.0) < self.ratio,
        }
    }
}

fn dice() -> u32 {
    let [a, b, c, d, ..] = RandomIdGenerator::default().new_span_id().to_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The spans that are on their way to the collector.
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Sends what is still here, unless the collector takes too long for it. Nothing is traced after that.
    pub async fn finish(self) {
        let sent = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH_DEADLINE)).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::warn!("the collector did not take the last spans in time");
        }
    }
}

/// Starts to trace, if there is a collector to tell. `instance` is what this node is called.
///
/// # Errors
/// When the endpoint is no URL, or tracing was started before.
pub fn start(config: &Config, instance: impl Display) -> anyhow::Result<Option<Traces>> {
    if config.endpoint.is_empty() {
        return Ok(None);
    }
    let resource = Resource::builder()
        .with_service_name(config.service_name.clone())
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance.to_string()),
        ])
        .build();
    let provider = SdkTracerProvider::builder()
        // Decided before there is a span.
        .with_sampler(Sampler::AlwaysOn)
        .with_span_processor(export::Queue::start(config)?)
        .with_resource(resource)
        .build();
    let sampling = Sampling { ratio: config.sample_ratio, follow_callers: config.follow_callers };
    let tracer = Tracer { sdk: provider.tracer("fanlight"), sampling };
    ensure!(TRACER.set(tracer).is_ok(), "tracing was started before");
    Ok(Some(Traces(provider)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming(sampled: bool) -> Incoming {
        let context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
        Incoming { context, sampled }
    }

    #[test]
    fn a_caller_cannot_decide_that_it_is_traced() {
        let strict = |ratio| Sampling { ratio, follow_callers: false };
        for said in [None, Some(incoming(true)), Some(incoming(false))] {
            assert!(strict(1.0).takes(said, u32::MAX));
            assert!(!strict(0.0).takes(said, 0));
            assert!(strict(0.5).takes(said, u32::MAX / 2) && !strict(0.5).takes(said, u32::MAX / 2 + 1));
        }
    }

    #[test]
    fn a_caller_that_is_followed_decides_and_others_do_not() {
        let following = |ratio| Sampling { ratio, follow_callers: true };
        assert!(following(0.0).takes(Some(incoming(true)), 0));
        assert!(!following(1.0).takes(Some(incoming(false)), 0));
        assert!(!following(0.0).takes(None, 0) && following(1.0).takes(None, u32::MAX));
    }

    #[test]
    fn what_is_not_traced_has_no_span_and_asks_for_nothing() {
        let parent = incoming(true).context;
        // Nothing has started to trace in this process.
        let span = Span::below(Some(parent), SpanKind::Internal, "step")
            .with("key", || -> bool { panic!("asked for") });
        assert_eq!((span.context(), current()), (None, None));
    }
}
