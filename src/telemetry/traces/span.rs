//! What one step of an event's way took, told when the step is over.
//!
//! What is not traced has no span: such a [`Span`] allocates nothing, and what it is told is not even asked for.

use std::borrow::Cow;
use std::fmt::Display;
use std::time::SystemTime;

use http::HeaderMap;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, Value};
use tracing::Instrument as _;

use super::context::{Incoming, TraceContext};
use super::{TRACER, Tracer};

const TRACEPARENT: &str = "traceparent";

tokio::task_local! {
    /// What the task is at, if that is traced.
    static CURRENT: TraceContext;
}

/// The step that the caller is part of ([`Span::carry`]), if that is traced.
#[must_use]
pub fn current() -> Option<TraceContext> {
    // A node that traces nothing does not even look.
    TRACER.get()?;
    CURRENT.try_with(|context| *context).ok()
}

/// The time that spans are told in.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "for whoever reads traces, not for a decision")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// One step, from here until this is dropped.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Span(Option<Box<opentelemetry_sdk::trace::Span>>);

impl Span {
    /// A request of a caller who may trace too: its trace goes on. Whether this request is traced, we decide.
    pub fn of_request(headers: &HeaderMap, name: impl FnOnce() -> String) -> Self {
        let Some(tracer) = TRACER.get() else { return Self(None) };
        let mut said = headers.get_all(TRACEPARENT).iter();
        let incoming = match (said.next(), said.next()) {
            (Some(one), None) => one.to_str().ok().and_then(Incoming::parse),
            _ => None,
        };
        if !tracer.sampling.takes(incoming, super::dice()) {
            return Self(None);
        }
        let parent = incoming.map(|incoming| incoming.context);
        Self::start(tracer, parent, SpanBuilder::from_name(name()).with_kind(SpanKind::Server))
    }

    /// A step below `parent`.
    pub fn below(parent: Option<TraceContext>, kind: SpanKind, name: &'static str) -> Self {
        Self::begun(parent, kind, name, None)
    }

    /// As [`Span::below`], of a step that began before it was known to be traced.
    pub fn since(began: SystemTime, parent: Option<TraceContext>, name: &'static str) -> Self {
        Self::begun(parent, SpanKind::Internal, name, Some(began))
    }

    fn begun(
        parent: Option<TraceContext>,
        kind: SpanKind,
        name: &'static str,
        start_time: Option<SystemTime>,
    ) -> Self {
        let (Some(parent), Some(tracer)) = (parent, TRACER.get()) else { return Self(None) };
        let builder = SpanBuilder { start_time, ..SpanBuilder::from_name(Cow::Borrowed(name)) };
        Self::start(tracer, Some(parent), builder.with_kind(kind))
    }

    fn start(tracer: &Tracer, parent: Option<TraceContext>, builder: SpanBuilder) -> Self {
        let root = Context::new();
        let context = match parent {
            Some(parent) => root.with_remote_span_context(parent.span_context()),
            None => root,
        };
        Self(Some(Box::new(tracer.sdk.build_with_context(builder, &context))))
    }

    /// What stands below this span.
    #[must_use]
    pub fn context(&self) -> Option<TraceContext> {
        TraceContext::of(self.0.as_ref()?.span_context())
    }

    /// With an attribute.
    pub fn with<V: Into<Value>>(mut self, key: &'static str, value: impl FnOnce() -> V) -> Self {
        self.set(key, value);
        self
    }

    /// With an attribute that is an id.
    pub fn with_id(self, key: &'static str, id: impl Display) -> Self {
        self.with(key, || id.to_string())
    }

    pub fn set<V: Into<Value>>(&mut self, key: &'static str, value: impl FnOnce() -> V) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(key, value()));
        }
    }

    /// Says that the step failed, and how.
    pub fn fail(&mut self, why: &'static str) {
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error(why));
        }
    }

    /// Runs work as part of this step: what it does is [`current`] below it, and its lines in the log bear the trace's id.
    pub async fn carry<F: Future>(&self, work: F) -> F::Output {
        let Some(context) = self.context() else { return work.await };
        // An error's level, so that no filter of the log hides it from the lines that it lets through.
        let line = tracing::error_span!("traced", trace.id = %context.trace_id());
        // Boxed: what is not traced should not keep room for it.
        Box::pin(CURRENT.scope(context, work).instrument(line)).await
    }
}

/// A statement for Postgres, as a step below the caller's. `name` says what it does, never what is in it.
pub async fn statement<T, E>(name: &'static str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let mut span = Span::below(current(), SpanKind::Client, name).with("db.system.name", || "postgresql");
    let result = work.await;
    if result.is_err() {
        // The message of an error may hold what was in the statement.
        span.fail("the statement failed");
    }
    result
}
