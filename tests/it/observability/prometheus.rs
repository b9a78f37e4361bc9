//! A real Prometheus with our rules, which reads the nodes of a cluster every second.

use std::path::PathBuf;
use std::time::Duration;

use fanlight::dev::cluster::Cluster;
use fanlight::dev::ports;
use fanlight::dev::process::{Launch, Process, Signal};
use serde_json::Value;

use crate::client::DEADLINE;
use crate::tree::root;

const STOP_WITHIN: Duration = Duration::from_secs(5);

pub struct Prometheus {
    process: Process,
    http: reqwest::Client,
    url: String,
}

/// Where a program of Prometheus is.
pub fn program(name: &str) -> PathBuf {
    // `PATH` is the system's, not a setting of ours.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is not installed: ./test installs it, or `apt-get install prometheus`")
    })
}

impl Prometheus {
    /// Starts it, and returns when it has read every node.
    pub async fn start(cluster: &Cluster) -> Self {
        let folder = cluster.state.path().join("prometheus");
        std::fs::create_dir(&folder).unwrap();
        let nodes = cluster.nodes.iter().map(|node| node.internal().replace("http://", ""));
        let targets: Vec<String> = nodes.collect();
        let (rules, targets) = (root().join("deploy/prometheus/rules/*.yml"), targets.join(", "));
        let settings = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}
rule_files: [{}]
scrape_configs:
  - job_name: fanlight
    static_configs: [{{ targets: [{targets}] }}]
",
            rules.display()
        );
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, settings).unwrap();
        let address = format!("127.0.0.1:{}", ports::free().unwrap());
        let process = Process::start(Launch {
            binary: program("prometheus"),
            args: [
                format!("--config.file={}", file.display()),
                format!("--storage.tsdb.path={}", folder.join("data").display()),
                format!("--web.listen-address={address}"),
            ]
            .map(Into::into)
            .into(),
            env: Vec::new(),
            directory: folder.clone(),
            log: cluster.state.path().join("prometheus.log"),
            account: None,
            stop_signal: Signal::Term,
            grace: STOP_WITHIN,
        });
        let http = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();
        let mut this =
            Self { process: process.unwrap(), http: http.clone(), url: format!("http://{address}") };
        let ready = || async {
            let count = format!("http://{address}/api/v1/query?query=sum(up)");
            let answer: Value = http.get(count).send().await?.json().await?;
            let up = answer["data"]["result"][0]["value"][1].as_str().and_then(|up| up.parse().ok());
            anyhow::ensure!(up == Some(cluster.nodes.len()), "{up:?} nodes are up");
            Ok(())
        };
        this.process.ready(DEADLINE, ready).await.unwrap();
        this
    }

    /// Its rules, as it sees them.
    pub async fn rules(&self) -> Value {
        let answer = self.http.get(format!("{}/api/v1/rules", self.url)).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// The values that an expression has now. NaN is none: there was nothing to divide.
    pub async fn values(&self, expression: &str) -> Vec<f64> {
        let question = self.http.post(format!("{}/api/v1/query", self.url)).form(&[("query", expression)]);
        let answer: Value = question.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let result = answer["data"]["result"].as_array().unwrap();
        let number = |sample: &Value| sample["value"][1].as_str().unwrap().parse::<f64>().unwrap();
        result.iter().map(number).filter(|value| !value.is_nan()).collect()
    }

    pub async fn stop(mut self) {
        self.process.stop().await;
    }
}
