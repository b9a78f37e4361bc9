//! How the nodes are: memory, descriptors and tasks, before the storm and after it, and whether they are well.

use std::time::Duration;

use fanlight::dev::scrape;
use serde::Serialize;

use crate::arena::Arena;

const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// What pools, caches and the allocator may keep, for all nodes together.
const DESCRIPTORS_MORE_MAX: i64 = 100;
const TASKS_MORE_MAX: i64 = 100;
const MEMORY_MORE_MAX_KIB: i64 = 96 * 1_024;

/// What all nodes hold together, besides what each connection needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Holdings {
    pub connections: i64,
    pub memory_kib: i64,
    /// Descriptors besides those of sockets and of the pool of Postgres.
    pub descriptors: i64,
    /// Tasks besides those of sockets.
    pub tasks: i64,
}

#[derive(Debug, Serialize)]
pub struct Growth {
    pub before: Holdings,
    pub after: Holdings,
    pub grown: Vec<&'static str>,
}

/// What the nodes hold now.
pub async fn holdings(arena: &Arena) -> anyhow::Result<Holdings> {
    let client = reqwest::Client::builder().timeout(ANSWERED_WITHIN).no_proxy().build()?;
    let mut all = Holdings::default();
    for node in &arena.cluster.nodes {
        let text = client.get(format!("{}/metrics", node.internal())).send().await?.text().await?;
        let gauge = |name: &str| i64::try_from(scrape::sum(&text, name, "")).unwrap_or(i64::MAX);
        let connections = gauge("fanlight_connections");
        let pid = node.process.pid();
        let open = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        all.connections += connections;
        all.memory_kib += resident_kib(&std::fs::read_to_string(format!("/proc/{pid}/status"))?);
        all.descriptors +=
            i64::try_from(open).unwrap_or(i64::MAX) - connections - gauge("fanlight_database_connections");
        all.tasks += gauge("fanlight_tasks") - connections;
    }
    Ok(all)
}

/// The nodes that do not reach all their stores.
pub async fn unwell(arena: &Arena) -> anyhow::Result<Vec<String>> {
    let client = reqwest::Client::builder().timeout(ANSWERED_WITHIN).no_proxy().build()?;
    let mut unwell = Vec::new();
    for node in &arena.cluster.nodes {
        // A report with `status`: `ok`, `degraded`, …
        let health: serde_json::Value =
            client.get(format!("{}/readyz", node.internal())).send().await?.json().await?;
        if health["status"] != "ok" {
            unwell.push(format!("{} {health}", node.name()));
        }
    }
    Ok(unwell)
}

pub fn compare(before: Holdings, after: Holdings) -> Growth {
    let limits = [
        ("memory", after.memory_kib - before.memory_kib, MEMORY_MORE_MAX_KIB.max(before.memory_kib / 2)),
        ("descriptors", after.descriptors - before.descriptors, DESCRIPTORS_MORE_MAX),
        ("tasks", after.tasks - before.tasks, TASKS_MORE_MAX),
    ];
    let grown = limits.into_iter().filter(|(_, more, max)| more > max).map(|(name, ..)| name).collect();
    Growth { before, after, grown }
}

fn resident_kib(status: &str) -> i64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        assert_eq!(resident_kib("VmPeak:\t  9 kB\nVmRSS:\t  1234 kB\n"), 1_234);
    }

    #[test]
    fn a_little_more_is_no_growth() {
        let before = Holdings { connections: 9, memory_kib: 100_000, descriptors: 60, tasks: 90 };
        assert!(compare(before, Holdings { descriptors: 80, ..before }).grown.is_empty());
        let leaking = Holdings { descriptors: 400, tasks: 900, memory_kib: 900_000, ..before };
        assert_eq!(compare(before, leaking).grown, ["memory", "descriptors", "tasks"]);
    }
}
