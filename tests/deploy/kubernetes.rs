//! `deploy/k8s`: the base as it stands, and the overlays where kubectl can render them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::LazyLock;

use serde_json::Value;

use crate::objects::{complaint, only, parse, plain, rendered};
use crate::settings::{accepted, defaults, longest_stop};
use crate::tree::read;

const BASE: &str = "deploy/k8s/base";
const OVERLAYS: [&str; 2] = ["deploy/k8s/overlays/prod", "deploy/k8s/overlays/local"];
const MONITORING: &str = "deploy/k8s/monitoring";
const SECRETS: &str = "/etc/fanlight/secrets";
/// docs/performance.md: what an idle connection takes, and some more.
const BYTES_PER_CONNECTION: u64 = 12 * 1024;

/// Every cluster that can be looked at here, by where it is from.
static CLUSTERS: LazyLock<Vec<(&'static str, Vec<Value>)>> = LazyLock::new(|| {
    let mut found = vec![(BASE, plain(BASE))];
    for folder in OVERLAYS {
        match rendered(folder) {
            Some(objects) => found.push((folder, objects)),
            None => eprintln!("{folder} is not looked at: there is no kubectl here, or it is too old"),
        }
    }
    found
});

fn cluster(folder: &str) -> Option<&'static [Value]> {
    CLUSTERS.iter().find(|(from, _)| *from == folder).map(|(_, objects)| objects.as_slice())
}

fn deployment(objects: &[Value]) -> &Value {
    &only(objects, "Deployment", "fanlight")["spec"]
}

fn pod_of(spec: &Value) -> &Value {
    &spec["template"]["spec"]
}

fn container_of(spec: &Value) -> &Value {
    let containers = pod_of(spec)["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// The settings that a pod gets: of the one `ConfigMap` that it names.
fn settings(objects: &[Value], spec: &Value) -> BTreeMap<String, String> {
    let name = container_of(spec)["envFrom"][0]["configMapRef"]["name"].as_str().unwrap();
    let data = only(objects, "ConfigMap", name)["data"].as_object().unwrap();
    data.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

fn labels(value: &Value) -> Vec<(&String, &Value)> {
    value.as_object().unwrap().iter().collect()
}

fn selects(selector: &Value, selected: &Value) -> bool {
    let selected = labels(selected);
    !labels(selector).is_empty() && labels(selector).iter().all(|label| selected.contains(label))
}

fn bytes(quantity: &Value) -> u64 {
    let text = quantity.as_str().unwrap();
    let scaled = |suffix, factor| text.strip_suffix(suffix).map(|n: &str| n.parse::<u64>().unwrap() * factor);
    scaled("Gi", 1 << 30).or_else(|| scaled("Mi", 1 << 20)).unwrap()
}

#[test]
fn every_object_is_one_that_kubernetes_knows() {
    let monitoring = (MONITORING, rendered(MONITORING).unwrap_or_else(|| plain(MONITORING)));
    for (from, objects) in CLUSTERS.iter().chain([&monitoring]) {
        assert!(!objects.is_empty());
        for object in objects {
            let name = (&object["kind"], &object["metadata"]["name"]);
            assert_eq!(complaint(object), None, "{from}: {name:?}");
        }
    }
}

#[test]
fn nodes_take_the_settings_and_secrets_they_get() {
    for (from, objects) in CLUSTERS.iter() {
        let node = deployment(objects);
        let env = settings(objects, node);
        // The overlay for one's own machine brings its key with it.
        let key = "for a cluster on one's own machine only";
        let more: &[_] = if from.ends_with("local") { &[("auth-key", key)] } else { &[] };
        accepted(&env, SECRETS, more);
        let migrate = &only(objects, "Job", "fanlight-migrate")["spec"];
        assert_eq!(settings(objects, migrate), env);
        for spec in [node, migrate] {
            let mount = &container_of(spec)["volumeMounts"][0];
            assert_eq!((&mount["mountPath"], &mount["readOnly"]), (&SECRETS.into(), &true.into()));
            let volume = &pod_of(spec)["volumes"][0];
            assert_eq!(volume["name"], mount["name"]);
            let secret = volume["secret"]["secretName"].as_str().unwrap();
            if from.ends_with("local") {
                only(objects, "Secret", secret);
            } else {
                assert_eq!(secret, "fanlight");
            }
        }
    }
}

#[test]
fn a_pod_has_the_time_that_a_node_needs_to_stop() {
    for (from, objects) in CLUSTERS.iter() {
        let spec = deployment(objects);
        let notice = container_of(spec)["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
        let grace = pod_of(spec)["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(notice > 0);
        let needed = notice + longest_stop().as_secs();
        assert!(grace > needed, "{from}: {grace} s, but a node takes up to {needed} s");
        let node = &settings(objects, spec);
        let changed = ["DRAIN_NOTICE_MS", "DRAIN_MS", "STOP_TIMEOUT_MS"];
        assert!(changed.iter().all(|name| !node.contains_key(&format!("FANLIGHT__SERVER__{name}"))));
    }
}

#[test]
fn a_rollout_takes_nobody_away_before_somebody_new_is_there() {
    for (from, objects) in CLUSTERS.iter() {
        let spec = deployment(objects);
        let rolling = &spec["strategy"]["rollingUpdate"];
        assert_eq!((&rolling["maxUnavailable"], &rolling["maxSurge"]), (&0.into(), &1.into()), "{from}");
        assert!(spec["minReadySeconds"].as_u64().unwrap() > 0);
        // Two who say how many nodes there are would undo each other's work.
        let scaled = objects.iter().any(|object| object["kind"] == "HorizontalPodAutoscaler");
        assert_ne!(scaled, spec["replicas"].is_u64(), "{from}");
    }
}

#[test]
fn nodes_are_asked_where_they_answer() {
    let public = defaults().server.listen.port();
    for (from, objects) in CLUSTERS.iter() {
        let spec = deployment(objects);
        let internal: SocketAddr =
            settings(objects, spec)["FANLIGHT__SERVER__INTERNAL_LISTEN"].parse().unwrap();
        assert!(internal.ip().is_unspecified(), "probes come from outside of the pod");
        let container = container_of(spec);
        let ports = container["ports"].as_array().unwrap();
        let ports: Vec<_> = ports.iter().map(|port| (&port["name"], &port["containerPort"])).collect();
        let expected = [(&"http".into(), &public.into()), (&"internal".into(), &internal.port().into())];
        assert_eq!(ports, expected, "{from}");

        let ops = read("src/edge/ops.rs");
        for (probe, path) in
            [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
        {
            let asked = &container[probe]["httpGet"];
            assert_eq!(
                (&asked["port"], &asked["path"]),
                (&"internal".into(), &path.into()),
                "{from} {probe}"
            );
            assert!(ops.contains(&format!("\"{path}\"")));
        }
        let target = |service: &Value, index: usize| service["spec"]["ports"][index]["targetPort"].clone();
        assert_eq!(target(only(objects, "Service", "fanlight"), 0), "http");
        let nodes = only(objects, "Service", "fanlight-nodes");
        assert_eq!((target(nodes, 0), target(nodes, 1)), ("http".into(), "internal".into()));
        assert_eq!(nodes["spec"]["clusterIP"], "None");

        let ingress = &only(objects, "NetworkPolicy", "fanlight")["spec"]["ingress"];
        let allowed: Vec<_> = ingress
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| {
                assert_eq!(rule["from"].as_array().unwrap().len(), 1);
                (
                    &rule["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"],
                    &rule["ports"][0]["port"],
                )
            })
            .collect();
        assert_eq!(
            allowed,
            [(&"gateway".into(), &"http".into()), (&"monitoring".into(), &"internal".into())]
        );
        assert_eq!(
            only(objects, "NetworkPolicy", "fanlight")["spec"]["policyTypes"].as_array().unwrap().len(),
            2
        );
    }
}

#[test]
fn clients_and_prometheus_find_the_nodes_and_nothing_else() {
    for (from, objects) in CLUSTERS.iter() {
        let spec = deployment(objects);
        let nodes = &spec["template"]["metadata"]["labels"];
        let migrate = &only(objects, "Job", "fanlight-migrate")["spec"]["template"]["metadata"]["labels"];
        let of_nodes = [
            &spec["selector"]["matchLabels"],
            &only(objects, "Service", "fanlight")["spec"]["selector"],
            &only(objects, "Service", "fanlight-nodes")["spec"]["selector"],
            &only(objects, "PodDisruptionBudget", "fanlight")["spec"]["selector"]["matchLabels"],
            &pod_of(spec)["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
            &pod_of(spec)["topologySpreadConstraints"][1]["labelSelector"]["matchLabels"],
        ];
        for selector in of_nodes {
            assert!(selects(selector, nodes) && !selects(selector, migrate), "{from}: {selector}");
        }
        let policy = &only(objects, "NetworkPolicy", "fanlight")["spec"]["podSelector"]["matchLabels"];
        assert!(selects(policy, nodes) && selects(policy, migrate), "{from}");

        let monitoring = plain(MONITORING);
        let monitor = only(&monitoring, "ServiceMonitor", "fanlight");
        let services = objects.iter().filter(|object| object["kind"] == "Service");
        let watched: Vec<&Value> = services
            .filter(|service| service["metadata"]["labels"].is_object())
            .filter(|service| {
                selects(&monitor["spec"]["selector"]["matchLabels"], &service["metadata"]["labels"])
            })
            .map(|service| &service["metadata"]["name"])
            .collect();
        assert_eq!(watched, ["fanlight-nodes"], "{from}: each node is to be asked once");
        let job = monitor["spec"]["jobLabel"].as_str().unwrap();
        let labels = &only(objects, "Service", "fanlight-nodes")["metadata"]["labels"];
        assert_eq!(labels[job], "fanlight", "the job that the rules of Prometheus ask for");
        assert_eq!(monitor["spec"]["endpoints"][0]["port"], "internal");
    }
}

#[test]
fn the_operator_gets_the_rules_of_prometheus() {
    let rules = ["recording", "alerts"].map(|name| read(&format!("deploy/prometheus/rules/{name}.yml")));
    let groups: Vec<Value> =
        rules.iter().flat_map(|text| parse(text).remove(0)["groups"].as_array().unwrap().clone()).collect();
    let monitoring = plain(MONITORING);
    let given = &only(&monitoring, "PrometheusRule", "fanlight")["spec"]["groups"];
    assert!(
        *given == Value::Array(groups),
        "deploy/k8s/monitoring/prometheusrule.yaml is another: run deploy/prometheus-rule.sh"
    );
}

#[test]
fn the_gateway_sends_clients_to_the_service() {
    let objects = cluster(OVERLAYS[0]).or_else(|| cluster(BASE)).unwrap();
    let backend = &only(objects, "HTTPRoute", "fanlight")["spec"]["rules"][0]["backendRefs"][0];
    let service = only(objects, "Service", backend["name"].as_str().unwrap());
    assert_eq!(backend["port"], service["spec"]["ports"][0]["port"]);
}

#[test]
fn pods_may_do_nothing_but_their_work() {
    for (from, objects) in CLUSTERS.iter() {
        for object in objects.iter().filter(|object| object["spec"]["template"].is_object()) {
            let (spec, name) = (&object["spec"], &object["metadata"]["name"]);
            let (pod, container) = (pod_of(spec), container_of(spec));
            let security = &container["securityContext"];
            assert_eq!(pod["automountServiceAccountToken"], false, "{from}: {name}");
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{from}: {name}");
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{from}: {name}");
            assert_eq!(security["allowPrivilegeEscalation"], false, "{from}: {name}");
            assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]), "{from}: {name}");
            if container["image"].as_str().unwrap().starts_with("fanlight") {
                assert_eq!(security["readOnlyRootFilesystem"], true, "{from}: {name}");
                assert!(
                    read("deploy/Dockerfile")
                        .contains(&format!("USER {}", pod["securityContext"]["runAsUser"]))
                );
            }
        }
        let account = only(objects, "ServiceAccount", "fanlight");
        assert_eq!(account["automountServiceAccountToken"], false);
    }
}

#[test]
fn nodes_are_added_before_they_are_full() {
    let objects = cluster(BASE).unwrap();
    let spec = deployment(objects);
    let env = settings(objects, spec);
    let connections: u64 = env["FANLIGHT__SOCKETS__CONNECTIONS_MAX"].parse().unwrap();
    let queues = defaults().sockets.memory_bytes_max as u64;
    let memory = bytes(&container_of(spec)["resources"]["limits"]["memory"]);
    assert!(
        connections * BYTES_PER_CONNECTION + queues < memory,
        "{connections} connections in {memory} bytes"
    );

    let scaler = &only(objects, "HorizontalPodAutoscaler", "fanlight")["spec"];
    let pods = &scaler["metrics"][0]["pods"];
    assert!(read("src/edge/ops.rs").contains(pods["metric"]["name"].as_str().unwrap()));
    let aim: u64 = pods["target"]["averageValue"].as_str().unwrap().parse().unwrap();
    let fewest = scaler["minReplicas"].as_u64().unwrap();
    assert!(fewest > 1 && aim * fewest / (fewest - 1) <= connections, "the others can take what one leaves");
    assert!(scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"].as_u64().unwrap() >= 600);
    assert_eq!(scaler["scaleTargetRef"]["name"], "fanlight");
}

#[test]
fn production_runs_this_version() {
    let Some(objects) = cluster(OVERLAYS[0]) else { return };
    let image = format!("fanlight:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(container_of(deployment(objects))["image"], image);
    assert_eq!(container_of(&only(objects, "Job", "fanlight-migrate")["spec"])["image"], image);
}
