//! Objects of Kubernetes: read from YAML, rendered by kustomize where it is, and compared with their types.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use std::process::Command;

use k8s_openapi::api::{apps, autoscaling, batch, core, networking, policy};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::tree::{read, root};

/// The first version of kubectl whose kustomize knows all that is used here.
const KUBECTL_MINOR_MIN: u32 = 27;

/// All documents of a YAML text.
pub fn parse(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The objects of a folder without overlays, as kustomize would make them but for names and namespaces.
pub fn plain(folder: &str) -> Vec<Value> {
    let kustomization = parse(&read(&format!("{folder}/kustomization.yaml"))).remove(0);
    let list = |name: &str| kustomization[name].as_array().cloned().unwrap_or_default();
    let mut objects = Vec::new();
    for resource in list("resources") {
        objects.extend(parse(&read(&format!("{folder}/{}", resource.as_str().unwrap()))));
    }
    for generator in list("configMapGenerator") {
        let settings = read(&format!("{folder}/{}", generator["envs"][0].as_str().unwrap()));
        let lines = settings.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let data: BTreeMap<&str, &str> = lines.map(|line| line.split_once('=').unwrap()).collect();
        objects.push(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data,
        }));
    }
    objects
}

/// The objects of a folder as kustomize makes them, where it is installed and new enough.
pub fn rendered(folder: &str) -> Option<Vec<Value>> {
    let version = Command::new("kubectl").args(["version", "--client", "--output", "json"]).output();
    let version = match version {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => panic!("{error}"),
    };
    let version: Value = serde_json::from_slice(&version.stdout).unwrap();
    let minor = version["clientVersion"]["minor"].as_str().unwrap().trim_end_matches('+');
    if minor.parse::<u32>().unwrap() < KUBECTL_MINOR_MIN {
        return None;
    }
    let output = Command::new("kubectl").arg("kustomize").arg(root().join(folder)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // Of what it will not understand for much longer it only warns.
    assert!(output.status.success() && said.is_empty(), "{folder}: {said}");
    Some(parse(&String::from_utf8(output.stdout).unwrap()))
}

/// Why Kubernetes would not take the object as it is written, if it would not.
pub fn complaint(object: &Value) -> Option<String> {
    let kind = object["kind"].as_str().unwrap_or_default();
    match (object["apiVersion"].as_str().unwrap_or_default(), kind) {
        ("v1", "ConfigMap") => differs::<core::v1::ConfigMap>(object),
        ("v1", "Namespace") => differs::<core::v1::Namespace>(object),
        ("v1", "Secret") => differs::<core::v1::Secret>(object),
        ("v1", "Service") => differs::<core::v1::Service>(object),
        ("v1", "ServiceAccount") => differs::<core::v1::ServiceAccount>(object),
        ("apps/v1", "Deployment") => differs::<apps::v1::Deployment>(object),
        ("autoscaling/v2", "HorizontalPodAutoscaler") => {
            differs::<autoscaling::v2::HorizontalPodAutoscaler>(object)
        }
        ("batch/v1", "Job") => differs::<batch::v1::Job>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => differs::<networking::v1::NetworkPolicy>(object),
        ("policy/v1", "PodDisruptionBudget") => differs::<policy::v1::PodDisruptionBudget>(object),
        // Of what is not Kubernetes' own there are no types: every path that is used is listed.
        ("gateway.networking.k8s.io/v1", "HTTPRoute") => unlisted(
            object,
            &[
                "parentRefs.name",
                "parentRefs.namespace",
                "hostnames",
                "rules.backendRefs.name",
                "rules.backendRefs.port",
            ],
        ),
        ("monitoring.coreos.com/v1", "ServiceMonitor") => unlisted(
            object,
            &[
                "jobLabel",
                "selector.matchLabels.*",
                "endpoints.port",
                "endpoints.path",
                "endpoints.interval",
                "endpoints.scrapeTimeout",
            ],
        ),
        ("monitoring.coreos.com/v1", "PrometheusRule") => unlisted(
            object,
            &[
                "groups.name",
                "groups.rules.record",
                "groups.rules.alert",
                "groups.rules.expr",
                "groups.rules.for",
                "groups.rules.labels.*",
                "groups.rules.annotations.*",
            ],
        ),
        (version, _) => Some(format!("nobody knows a {kind} of {version}")),
    }
}

/// What is written must still be there when it was read into its type: a misspelt field is not.
fn differs<T: DeserializeOwned + Serialize>(object: &Value) -> Option<String> {
    match T::deserialize(object) {
        Ok(typed) => lost(object, &serde_json::to_value(typed).unwrap(), ""),
        Err(error) => Some(error.to_string()),
    }
}

/// The first path of `written` that `kept` has not.
fn lost(written: &Value, kept: &Value, path: &str) -> Option<String> {
    match (written, kept) {
        (Value::Object(written), Value::Object(kept)) => written.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            kept.get(name).map_or_else(|| Some(format!("{path} is unknown")), |kept| lost(value, kept, &path))
        }),
        (Value::Array(written), Value::Array(kept)) if written.len() == kept.len() => {
            written.iter().zip(kept).find_map(|(written, kept)| lost(written, kept, path))
        }
        _ => (written != kept).then(|| format!("{path} is not {written} but {kept}")),
    }
}

fn unlisted(object: &Value, listed: &[&str]) -> Option<String> {
    fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    paths(value, format!("{path}.{name}").trim_start_matches('.'), found);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| paths(value, path, found)),
            _ => found.push(path.to_owned()),
        }
    }
    let mut found = Vec::new();
    paths(&object["spec"], "", &mut found);
    let known = |path: &String| {
        listed
            .iter()
            .any(|entry| entry.strip_suffix('*').map_or(path == entry, |prefix| path.starts_with(prefix)))
    };
    found.into_iter().find(|path| !known(path))
}

/// The only object of this kind and name.
#[track_caller]
pub fn only<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    let found: Vec<&Value> = objects.iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0]
}

#[test]
fn what_is_misspelt_is_found() {
    let service = |port: Value| json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [port]}});
    assert_eq!(complaint(&service(json!({"port": 80, "targetPort": "http"}))), None);
    assert!(complaint(&service(json!({"port": 80, "targetport": "http"}))).unwrap().contains("targetport"));
    assert!(complaint(&service(json!({"port": "80"}))).is_some());
    assert!(complaint(&json!({"apiVersion": "v2", "kind": "Service"})).is_some());
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "spec": {"parentRef": {"name": "a"}},
    });
    assert_eq!(complaint(&route).as_deref(), Some("parentRef.name"));
}
