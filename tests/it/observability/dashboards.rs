//! The dashboards as files. That their panels show something is tried in `live`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::catalogue::assert_known;
use super::files::metric_names;
use crate::tree::files;

/// Columns of a dashboard.
const WIDTH: u64 = 24;

/// All dashboards, by file.
pub fn dashboards() -> Vec<(String, Value)> {
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_str(&text).unwrap())
    };
    files("deploy/grafana/dashboards", "json").iter().map(read).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The panels of a dashboard, also those in rows that are closed.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let all = list(&dashboard["panels"])
        .iter()
        .flat_map(|panel| [&[panel][..], &list(&panel["panels"]).iter().collect::<Vec<_>>()].concat());
    all.collect()
}

/// Title and expression of every query.
pub fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let of_panel = |panel: &&Value| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = list(&panel["targets"]).iter();
        targets.map(|target| (title.clone(), target["expr"].as_str().unwrap().to_owned())).collect::<Vec<_>>()
    };
    panels(dashboard).iter().flat_map(of_panel).collect()
}

#[test]
fn dashboards_can_be_told_apart_and_their_panels_say_what_they_show() {
    let mut uids = BTreeSet::new();
    for (file, dashboard) in dashboards() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        assert!(uids.insert(text(&dashboard["uid"])), "{file}: its uid stands twice");
        assert!(dashboard["schemaVersion"].as_u64() >= Some(39), "{file}");
        assert!(
            !text(&dashboard["title"]).is_empty() && !text(&dashboard["description"]).is_empty(),
            "{file}"
        );
        let mut ids = BTreeSet::new();
        for panel in panels(&dashboard) {
            let title = format!("{file}: {}", text(&panel["title"]));
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id stands twice");
            if panel["type"] == "row" {
                continue;
            }
            assert!(text(&panel["description"]).ends_with('.'), "{title}: no description");
            assert!(!text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(), "{title}: no unit");
            assert!(!list(&panel["targets"]).is_empty(), "{title}: asks nothing");
            let mut references = BTreeSet::new();
            for target in list(&panel["targets"]) {
                assert!(references.insert(text(&target["refId"])), "{title}: a refId stands twice");
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            }
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
    assert_eq!(uids.len(), 4);
}

#[test]
fn no_panel_lies_on_another() {
    for (file, dashboard) in dashboards() {
        let mut taken = BTreeSet::new();
        for panel in panels(&dashboard) {
            let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            let title = &panel["title"];
            assert!(place("w") > 0 && place("h") > 0 && place("x") + place("w") <= WIDTH, "{file}: {title}");
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(taken.insert((x, y)), "{file}: {title} lies on another panel");
                }
            }
        }
    }
}

#[test]
fn every_metric_is_on_a_dashboard_and_every_name_there_is_one() {
    let mut shown = BTreeSet::new();
    for (file, dashboard) in dashboards() {
        for (title, expression) in queries(&dashboard) {
            shown.extend(assert_known(&format!("{file}: {title}"), &metric_names(&expression)));
        }
    }
    let hidden: Vec<&str> = fanlight::telemetry::catalogue::all()
        .map(|metric| metric.name)
        .filter(|name| !shown.contains(*name))
        .collect();
    assert!(hidden.is_empty(), "on no dashboard: {hidden:?}");
}
