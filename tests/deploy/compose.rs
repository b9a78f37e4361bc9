//! `docker-compose.yml`, `.env.example`, and what the observability profile mounts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::objects::parse;
use crate::settings::{accepted, longest_stop};
use crate::tree::{read, root};

/// The variables that the compose file reads, with their defaults.
fn variables() -> BTreeMap<String, String> {
    let text = read("docker-compose.yml");
    let reads = text.split("${").skip(1).map(|rest| rest.split_once('}').unwrap().0);
    let mut found = BTreeMap::new();
    for read in reads {
        let (name, default) = read.split_once(":-").unwrap_or_else(|| panic!("${{{read}}} has no default"));
        let before = found.insert(name.to_owned(), default.to_owned());
        assert!(before.is_none_or(|before| before == default), "{name} has two defaults");
    }
    found
}

/// The compose file as Compose reads it where nothing is set.
fn compose() -> Value {
    let mut text = read("docker-compose.yml");
    for (name, default) in variables() {
        text = text.replace(&format!("${{{name}:-{default}}}"), &default);
    }
    parse(&text).remove(0)
}

fn seconds(text: &Value) -> Duration {
    Duration::from_secs(text.as_str().unwrap().strip_suffix('s').unwrap().parse().unwrap())
}

#[test]
fn the_example_names_every_variable_with_its_default() {
    let text = read(".env.example");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let example: BTreeMap<String, String> = lines
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_eq!(example, variables());
}

#[test]
fn the_settings_are_what_a_node_takes() {
    let services = &compose()["services"];
    for name in ["node-1", "node-2", "node-3", "migrate"] {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let env = services[name]["environment"].as_object().unwrap();
        let mut env: BTreeMap<String, String> =
            env.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        // As if both folders were one.
        let account = env.get_mut("FANLIGHT__PUSH__FCM__SERVICE_ACCOUNT_FILE").unwrap();
        *account = account.replace("/run/secrets", "/secrets");
        accepted(&env, "/secrets", &[]);
        env.insert("FANLIGHT__PUSH__FCM__ENABLED".to_owned(), "true".to_owned());
        accepted(&env, "/secrets", &[]);
    }
}

#[test]
fn a_container_has_the_time_that_a_node_needs_to_stop() {
    let compose = compose();
    for name in ["node-1", "node-2", "node-3"] {
        let grace = seconds(&compose["services"][name]["stop_grace_period"]);
        assert!(grace > longest_stop(), "{name}: {grace:?} of {:?}", longest_stop());
    }
    let haproxy = read("deploy/haproxy/haproxy.cfg");
    let hard_stop = haproxy.split("hard-stop-after ").nth(1).unwrap().lines().next().unwrap();
    let grace = seconds(&compose["services"]["haproxy"]["stop_grace_period"]);
    assert!(grace > seconds(&hard_stop.into()));
}

#[test]
fn what_is_mounted_is_there() {
    let compose = compose();
    let mut mounted = 0;
    for (name, service) in compose["services"].as_object().unwrap() {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            match source.strip_prefix("./") {
                Some(path) => assert!(root().join(path).exists(), "{name} mounts {source}"),
                None if source.starts_with('/') => continue,
                None => assert!(compose["volumes"].get(source).is_some(), "{name} mounts {source}"),
            }
            mounted += 1;
        }
    }
    assert!(mounted > 5);
}

#[test]
fn what_watches_the_cluster_finds_it() {
    let compose = compose();
    let services: BTreeSet<&str> =
        compose["services"].as_object().unwrap().keys().map(String::as_str).collect();
    let prometheus = parse(&read("deploy/prometheus/prometheus.yml")).remove(0);
    let mut asked = BTreeSet::new();
    let jobs = prometheus["scrape_configs"].as_array().unwrap();
    let alerting = prometheus["alerting"]["alertmanagers"].as_array().unwrap();
    for job in jobs.iter().chain(alerting) {
        for target in job["static_configs"][0]["targets"].as_array().unwrap() {
            asked.insert(target.as_str().unwrap().to_owned());
        }
    }
    for target in &asked {
        let host = target.split(':').next().unwrap();
        assert!(host == "localhost" || services.contains(host), "{target}");
    }
    for node in services.iter().filter(|name| name.starts_with("node-")) {
        assert!(asked.contains(&format!("{node}:9090")), "nobody asks {node}");
    }

    let sources = parse(&read("deploy/grafana/provisioning/datasources/prometheus.yaml")).remove(0);
    assert_eq!(sources["datasources"][0]["url"], "http://prometheus:9090");
    let provider = parse(&read("deploy/grafana/provisioning/dashboards/fanlight.yaml")).remove(0);
    let path = provider["providers"][0]["options"]["path"].as_str().unwrap();
    let grafana = &compose["services"]["grafana"];
    let mount = grafana["volumes"][0].as_str().unwrap();
    let (source, target) = mount.trim_end_matches(":ro").split_once(':').unwrap();
    assert_eq!(source, "./deploy/grafana");
    assert_eq!(path, format!("{target}/dashboards"));
    assert_eq!(grafana["environment"]["GF_PATHS_PROVISIONING"], format!("{target}/provisioning"));
}

#[test]
fn the_load_test_finds_the_cluster_and_its_accounts_are_let_in() {
    let compose = compose();
    let loadtest = &compose["services"]["loadtest"];
    let command: Vec<&str> =
        loadtest["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let value = |name: &str| command[command.iter().position(|word| *word == name).unwrap() + 1];
    assert_eq!(value("--target"), "http://haproxy:8080");
    assert!(read("deploy/haproxy/haproxy.cfg").contains("bind :8080"));
    // A couple is two people; one more is registered to see how long tokens live.
    let accounts = 2 * value("--users").parse::<usize>().unwrap() + 1;
    let environment = &compose["services"]["node-1"]["environment"];
    let most = environment["FANLIGHT__ACCOUNTS__REGISTRATIONS_PER_ADDRESS_MAX"].as_u64().unwrap();
    assert!(accounts <= usize::try_from(most).unwrap());

    let target = loadtest["build"]["target"].as_str().unwrap();
    assert!(read("deploy/Dockerfile").contains(&format!(" AS {target}\n")));
}
