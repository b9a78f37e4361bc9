//! A collector of spans, as OpenTelemetry has it: OTLP over HTTP, in protobuf.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use fanlight::shutdown::Shutdown;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::net::TcpListener;

use crate::client::DEADLINE;
use crate::shared::eventually;

/// A span that was sent; ids are in hexadecimal, as in a `traceparent`.
#[derive(Clone, Debug)]
pub struct Seen {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    /// Which node told it.
    pub node: String,
    pub attributes: BTreeMap<String, String>,
    pub failed: bool,
    pub start: u64,
    pub end: u64,
}

impl Seen {
    pub fn says(&self, attribute: &str, value: &str) -> bool {
        self.attributes.get(attribute).is_some_and(|said| said == value)
    }
}

/// Ends with the test's runtime.
pub struct Collector {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Collector {
    pub async fn start() -> Self {
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&seen));
        Shutdown::new().spawn_light(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, seen }
    }

    /// All spans so far.
    pub fn all(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// Those of a trace.
    pub fn trace(&self, id: &str) -> Vec<Seen> {
        self.all().into_iter().filter(|span| span.trace == id).collect()
    }

    /// The spans of a trace, as soon as one of them is as asked for.
    pub async fn until(&self, trace: &str, what: &str, is_it: impl Fn(&Seen) -> bool) -> Seen {
        eventually(DEADLINE, what, async || self.trace(trace).into_iter().find(&is_it)).await
    }
}

async fn take(State(seen): State<Arc<Mutex<Vec<Seen>>>>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for of_one_node in request.resource_spans {
        let resource = texts(of_one_node.resource.unwrap().attributes);
        assert_eq!(resource["service.name"], "fanlight");
        for span in of_one_node.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            seen.lock().push(Seen {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                node: resource["service.instance.id"].clone(),
                attributes: texts(span.attributes),
                // STATUS_CODE_ERROR
                failed: span.status.is_some_and(|status| status.code == 2),
                start: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
            });
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        other => panic!("nobody says such a thing: {other:?}"),
    }
}
