//! `dev.json`: where everything of the running cluster is, so that scripts can drive it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::cluster::Cluster;
use super::seed::Seeded;
use super::state;

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// The load balancer: what clients use.
    http: String,
    nodes: Vec<NodeEntry>,
    postgres: StoreEntry,
    redis: StoreEntry,
    haproxy: ProcessEntry,
    fcm: String,
    #[serde(flatten)]
    seeded: Seeded,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct NodeEntry {
    name: String,
    pid: u32,
    http: String,
    internal: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct StoreEntry {
    url: String,
    pid: u32,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct ProcessEntry {
    pid: u32,
}

impl Manifest {
    #[must_use]
    pub fn of(cluster: &Cluster, seeded: &Seeded) -> Self {
        let nodes = cluster.nodes.iter().map(|node| NodeEntry {
            name: node.name().to_owned(),
            pid: node.process.pid(),
            http: node.http(),
            internal: node.internal(),
        });
        Self {
            http: cluster.url(),
            nodes: nodes.collect(),
            postgres: StoreEntry { url: cluster.postgres_url(), pid: cluster.postgres.process.pid() },
            redis: StoreEntry { url: cluster.redis.url(), pid: cluster.redis.process.pid() },
            haproxy: ProcessEntry { pid: cluster.haproxy.process.pid() },
            fcm: cluster.fcm.url(),
            seeded: seeded.clone(),
        }
    }

    /// Writes the file as a whole: who reads it sees the old one or the new one. It holds tokens, so only its
    /// owner may read it.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        state::replace_secret(&file(directory), &text)
    }
}

/// Where the manifest of the cluster in `directory` is, while it runs.
#[must_use]
pub fn file(directory: &Path) -> PathBuf {
    directory.join("dev.json")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dev::seed::{Channel, User};

    #[test]
    fn the_manifest_has_the_documented_shape() {
        let manifest = Manifest {
            http: "http://127.0.0.1:8080".into(),
            nodes: vec![NodeEntry {
                name: "node-1".into(),
                pid: 1,
                http: "http://127.0.0.1:7001".into(),
                internal: "http://127.0.0.1:7101".into(),
            }],
            postgres: StoreEntry { url: "postgres://p".into(), pid: 2 },
            redis: StoreEntry { url: "redis://r".into(), pid: 3 },
            haproxy: ProcessEntry { pid: 4 },
            fcm: "http://127.0.0.1:9".into(),
            seeded: Seeded {
                users: vec![User {
                    email: "ada@example.com".into(),
                    password: "secret".into(),
                    id: "1".into(),
                    access_token: "t".into(),
                }],
                channel: Channel { id: "2".into(), name: "everybody".into() },
            },
        };
        let folder = tempfile::tempdir().unwrap();

        manifest.write(folder.path()).unwrap();
        manifest.write(folder.path()).unwrap();

        let text = std::fs::read_to_string(file(folder.path())).unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            json!({
                "http": "http://127.0.0.1:8080",
                "nodes": [{
                    "name": "node-1", "pid": 1,
                    "http": "http://127.0.0.1:7001", "internal": "http://127.0.0.1:7101",
                }],
                "postgres": {"url": "postgres://p", "pid": 2},
                "redis": {"url": "redis://r", "pid": 3},
                "haproxy": {"pid": 4},
                "fcm": "http://127.0.0.1:9",
                "users": [{"email": "ada@example.com", "password": "secret", "id": "1", "accessToken": "t"}],
                "channel": {"id": "2", "name": "everybody"},
            })
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
