//! How the node is: the probes, the metrics, and the public health answer.
//!
//! A node is ready while it can reach Postgres. Redis being away makes it slower, not unable, so that is told
//! and changes nothing: a load balancer that took all nodes out for it would turn a hiccup into an outage.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::db::{Pools, Watch};
use crate::delivery::reconcile::BrokerHealth;
use crate::delivery::registry::Registry;
use crate::shutdown::Shutdown;
use crate::telemetry::as_gauge;

const CHECK_INTERVAL: Duration = Duration::from_secs(1);
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// What is known of this node's state.
pub struct Health {
    database: AtomicBool,
    draining: CancellationToken,
    broker: Arc<BrokerHealth>,
    registry: Arc<Registry>,
}

/// What the probes answer.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthReport {
    /// `ok`, `degraded` (slower, but serving), `draining` or `unavailable`.
    status: &'static str,
    database: bool,
    broker: bool,
    connections: usize,
    version: &'static str,
}

impl Health {
    #[must_use]
    pub fn new(broker: Arc<BrokerHealth>, registry: Arc<Registry>) -> Arc<Self> {
        let (database, draining) = (AtomicBool::new(false), CancellationToken::new());
        Arc::new(Self { database, draining, broker, registry })
    }

    /// From now on the load balancer should send nobody here.
    pub fn start_draining(&self) {
        self.draining.cancel();
    }

    /// Resolves when this node should leave.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Looks after Postgres until the process stops.
    pub async fn watch(self: Arc<Self>, pools: Pools, database: Arc<Watch>, shutdown: Shutdown) {
        loop {
            let well = {
                let asked = Instant::now();
                let mut check = pin!(sqlx::query("SELECT 1").execute(&pools.requests));
                let well = matches!(tokio::time::timeout(CHECK_TIMEOUT, &mut check).await, Ok(Ok(_)));
                metrics::histogram!("fanlight_database_check_duration_seconds").record(asked.elapsed());
                // Before the question is dropped: what becomes of its connection depends on it.
                database.set_answers(well);
                well
            };
            if self.database.swap(well, Ordering::Relaxed) != well {
                tracing::info!(database.reachable = well, "postgres");
            }
            self.publish(&pools, well);
            if shutdown.unless_stopped(tokio::time::sleep(CHECK_INTERVAL)).await.is_none() {
                return;
            }
        }
    }

    fn publish(&self, pools: &Pools, database: bool) {
        metrics::gauge!("fanlight_connections").set(as_gauge(self.registry.len()));
        metrics::gauge!("fanlight_connected_users").set(as_gauge(self.registry.users()));
        metrics::gauge!("fanlight_database_reachable").set(as_gauge(usize::from(database)));
        metrics::gauge!("fanlight_broker_reachable").set(as_gauge(usize::from(self.broker.is_well())));
        metrics::gauge!("fanlight_draining").set(as_gauge(usize::from(self.draining.is_cancelled())));
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        metrics::gauge!("fanlight_tasks").set(as_gauge(tasks));
        for (name, pool) in [("requests", &pools.requests), ("background", &pools.background)] {
            metrics::gauge!("fanlight_database_connections", "pool" => name).set(f64::from(pool.size()));
            metrics::gauge!("fanlight_database_connections_idle", "pool" => name)
                .set(as_gauge(pool.num_idle()));
            let max = f64::from(pool.options().get_max_connections());
            metrics::gauge!("fanlight_database_connections_max", "pool" => name).set(max);
        }
    }

    fn report(&self) -> HealthReport {
        let database = self.database.load(Ordering::Relaxed);
        let broker = self.broker.is_well();
        let status = match (self.draining.is_cancelled(), database, broker) {
            (true, _, _) => "draining",
            (_, false, _) => "unavailable",
            (_, true, false) => "degraded",
            (_, true, true) => "ok",
        };
        HealthReport {
            status,
            database,
            broker,
            connections: self.registry.len(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl HealthReport {
    /// 404 asks `HAProxy` for a soft stop: nobody new, those who are here stay. 503 means broken.
    fn probe_status(&self) -> StatusCode {
        match self.status {
            "draining" => StatusCode::NOT_FOUND,
            "unavailable" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        }
    }
}

/// Is the node well? Public and cheap: nothing is asked for it.
#[utoipa::path(
    get, path = "/health", tag = "health", security(()),
    responses((status = 200, body = HealthReport), (status = 503, body = HealthReport))
)]
pub async fn health(State(health): State<Arc<Health>>) -> Response {
    let report = health.report();
    let status = if report.probe_status() == StatusCode::OK {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(report)).into_response()
}

/// The public part.
pub fn routes(health: Arc<Health>) -> OpenApiRouter {
    all().with_state(health)
}

/// What the public part is, for the API document.
#[must_use]
pub fn openapi() -> OpenApi {
    all().into_openapi()
}

fn all() -> OpenApiRouter<Arc<Health>> {
    OpenApiRouter::new().routes(routes!(health))
}

/// The internal listener: `/livez` `/readyz` `/metrics` and `POST /drain`.
pub fn internal_routes(health: Arc<Health>, metrics: PrometheusHandle) -> Router {
    let ready = |State(health): State<Arc<Health>>| async move {
        let report = health.report();
        (report.probe_status(), Json(report))
    };
    let drain = |State(health): State<Arc<Health>>| async move {
        health.start_draining();
        StatusCode::ACCEPTED
    };
    let render = move || async move {
        ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
    };
    Router::new()
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(ready))
        .route("/metrics", get(render))
        .route("/drain", post(drain))
        .with_state(health)
}
