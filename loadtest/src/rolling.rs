//! The nodes are restarted one after the other, as for an upgrade, while the load goes on.

use std::time::Duration;

use anyhow::ensure;
use fanlight::dev::cluster::Cluster;
use fanlight::dev::process::Signal;
use tokio::time::{Instant, sleep, sleep_until};

/// Longer than a node takes to drain and stop.
const LEAVES_WITHIN: Duration = Duration::from_secs(20);
/// Until the load balancer has looked again.
const NOTICED_AFTER: Duration = Duration::from_secs(2);

/// Restarts every node, spread over `run_time`. Returns how many.
pub async fn restart_all(cluster: &mut Cluster, run_time: Duration) -> anyhow::Result<usize> {
    let began = Instant::now();
    let shares = u32::try_from(cluster.nodes.len() + 1)?;
    for (node, turn) in cluster.nodes.iter_mut().zip(1_u32..) {
        sleep_until(began + run_time / shares * turn).await;
        node.process.signal(Signal::Term)?;
        ensure!(node.process.ended(LEAVES_WITHIN).await, "{} does not leave", node.name());
        node.restart(&[]).await?;
        sleep(NOTICED_AFTER).await;
    }
    Ok(cluster.nodes.len())
}
