//! Starts again what dies, on the same port, after a few seconds: long enough to see the cluster without it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::cluster::Cluster;

/// How long a dead process stays dead.
const PAUSE: Duration = Duration::from_secs(3);

/// Since when each process is dead, by name.
#[derive(Default)]
pub struct Watch {
    dead_since: HashMap<String, Instant>,
}

impl Watch {
    /// Looks at every process once. Returns the names of those that were started again.
    ///
    /// Does not wait until they are ready: one that fails is dead again at the next look.
    pub async fn look(&mut self, cluster: &mut Cluster) -> Vec<String> {
        let now = Instant::now();
        let mut revived = Vec::new();
        for (name, process) in cluster.processes() {
            if process.is_running() {
                self.dead_since.remove(&name);
                continue;
            }
            let since = *self.dead_since.entry(name.clone()).or_insert_with(|| {
                tracing::warn!(process.name = name, process.pid = process.pid(), "a process died");
                now
            });
            if now.duration_since(since) < PAUSE {
                continue;
            }
            self.dead_since.remove(&name);
            match process.restart().await {
                Ok(()) => revived.push(name),
                Err(error) => tracing::error!(process.name = name, %error, "cannot start it again"),
            }
        }
        revived
    }
}
