//! The nodes as the page shows them, and what it may ask of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use super::journal::milliseconds;
use crate::dev::cluster::Cluster;
use crate::dev::scrape;
use crate::domain::clock::{Clock as _, SystemClock};

const PROBE_WITHIN: Duration = Duration::from_millis(800);
/// What the page shows of `/metrics`, each summed over its labels.
const SHOWN: [(&str, &str); 3] = [
    ("requests", "fanlight_http_requests_total"),
    ("written", "fanlight_events_written_total"),
    ("handshakes", "fanlight_handshakes_total"),
];

/// What the owner of the processes knows of a node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFact {
    pub name: String,
    pub http: String,
    #[serde(skip)]
    pub internal: String,
    pub pid: u32,
    pub is_running: bool,
    /// Epoch ms.
    pub started_at: f64,
}

impl NodeFact {
    /// How the nodes are now. Tells only what has changed.
    pub fn publish(cluster: &mut Cluster, facts: &watch::Sender<Vec<Self>>) {
        let now = milliseconds(SystemClock.now());
        let before = facts.borrow().clone();
        let known = |pid: u32| before.iter().find(|fact| fact.pid == pid).map(|fact| fact.started_at);
        let nodes = cluster.nodes.iter_mut().map(|node| Self {
            name: node.name().to_owned(),
            http: node.http(),
            internal: node.internal(),
            pid: node.process.pid(),
            is_running: node.process.is_running(),
            started_at: known(node.process.pid()).unwrap_or(now),
        });
        let nodes: Vec<Self> = nodes.collect();
        facts.send_if_modified(|facts| {
            let is_new = *facts != nodes;
            *facts = nodes;
            is_new
        });
    }
}

/// What may be done to a node's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Dies at once, and is started again after a while.
    Kill,
    /// Sends its clients to the others and stops in order; is started again after a while.
    Drain,
    /// Dies, and is started again at once.
    Restart,
}

/// Asks the owner of the processes to do something.
#[derive(Debug)]
pub struct Order {
    pub node: String,
    pub action: Action,
    pub done: oneshot::Sender<anyhow::Result<()>>,
}

/// A node as the page shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    #[serde(flatten)]
    fact: NodeFact,
    /// What `/readyz` says; `down` if it says nothing.
    status: String,
    connections: u64,
    /// Since the node's start.
    counts: BTreeMap<&'static str, u64>,
}

pub fn probing_client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().timeout(PROBE_WITHIN).no_proxy().build()
}

pub async fn report(http: &reqwest::Client, fact: NodeFact) -> NodeReport {
    let ask = async |path: &str| http.get(format!("{}{path}", fact.internal)).send().await?.text().await;
    let (health, metrics) = tokio::join!(ask("/readyz"), ask("/metrics"));
    let health: Value = health.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let metrics = metrics.unwrap_or_default();
    NodeReport {
        status: health["status"].as_str().unwrap_or("down").to_owned(),
        connections: health["connections"].as_u64().unwrap_or_default(),
        counts: SHOWN.into_iter().map(|(name, metric)| (name, scrape::sum(&metrics, metric, ""))).collect(),
        fact,
    }
}
