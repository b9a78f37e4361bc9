//! The catalogue of metrics, compared with what the code counts and what the page says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use fanlight::features;
use fanlight::telemetry::catalogue::{self, Kind, Values};

use super::files::{literals_behind, program};
use crate::tree::read;

/// Kind and label names.
type Shape = (&'static str, BTreeSet<String>);

/// The arguments of a macro call, from behind its opening parenthesis.
fn arguments(text: &str) -> &str {
    let mut depth = 1;
    let end = text.find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    });
    &text[..end.expect("what is compiled has its parentheses closed")]
}

/// Everything that `text` counts: name, kind, labels. Fails on a name that is not written out.
fn counted(path: &str, text: &str) -> Vec<(String, Shape)> {
    let mut found = Vec::new();
    for kind in ["counter", "gauge", "histogram"] {
        let call = format!("{kind}!(");
        for (at, matched) in text.match_indices(&call) {
            if text[..at].ends_with('_') {
                continue;
            }
            let arguments = arguments(&text[at + matched.len()..]);
            let mut strings = arguments.split('"').skip(1);
            let name = strings.next().unwrap_or_default();
            assert!(
                arguments.trim_start().starts_with('"'),
                "{path}: {kind}!({arguments}): write the name out, so that it can be found"
            );
            let parts: Vec<&str> = arguments.split('"').collect();
            let labels = parts.windows(2).skip(2).filter(|pair| pair[1].trim_start().starts_with("=>"));
            found.push((name.to_owned(), (kind, labels.map(|pair| pair[0].to_owned()).collect())));
        }
    }
    found
}

#[test]
fn what_is_counted_is_in_the_catalogue_and_the_other_way_round() {
    let listed: BTreeMap<String, Shape> = catalogue::all()
        .map(|metric| {
            let labels = metric.labels.iter().map(|label| label.name.to_owned()).collect();
            (metric.name.to_owned(), (metric.kind.as_str(), labels))
        })
        .collect();
    let mut seen = BTreeSet::new();
    for (path, text) in program() {
        for (name, shape) in counted(&path, &text) {
            assert_eq!(listed.get(&name), Some(&shape), "{path}: {name} in src/telemetry/catalogue");
            seen.insert(name);
        }
    }
    let unused: Vec<&String> = listed.keys().filter(|name| !seen.contains(*name)).collect();
    assert!(unused.is_empty(), "in the catalogue, but nobody counts them: {unused:?}");
}

#[test]
fn the_search_sees_names_labels_and_kinds() {
    let text = r#"metrics::counter!(
        "a_total",
        "one" => one.as_str(), "two" => "x"
    ).increment(count("b"));
    histogram!("c_seconds").record(f("d", 1)); describe_gauge!(name)"#;
    let labels = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|&name| name.to_owned()).collect() };
    let expected = [
        ("a_total".to_owned(), ("counter", labels(&["one", "two"]))),
        ("c_seconds".to_owned(), ("histogram", labels(&[]))),
    ];
    assert_eq!(counted("", text), expected);
}

fn closed(metric: &str, label: &str) -> BTreeSet<&'static str> {
    let metric = catalogue::find(metric).unwrap();
    match metric.labels.iter().find(|it| it.name == label).unwrap().values {
        Values::OneOf(values) => values.iter().copied().collect(),
        Values::Each(what) => panic!("{what} is not a list"),
    }
}

/// All literals behind one of `before` in the files whose path begins so.
fn literals(folder: &str, before: &[&str]) -> BTreeSet<String> {
    let ours =
        program().into_iter().filter(|(path, _)| path.starts_with(folder) && !path.starts_with("src/dev"));
    ours.flat_map(|(_, text)| {
        let found = before.iter().flat_map(|before| literals_behind(&text, before));
        found.map(str::to_owned).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn the_closed_lists_are_those_of_the_code() {
    let same = |metric, label, found: BTreeSet<String>| {
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(closed(metric, label), found, "{metric}{{{label}}}");
    };
    same("fanlight_task_panics_total", "task", literals("src/", &[".spawn("]));
    let kinds = features::events().iter().map(|event| event.kind.to_owned()).collect();
    same("fanlight_events_routed_total", "kind", kinds);
    let of_rooms: BTreeSet<&str> = features::room_events().iter().map(|event| event.kind).collect();
    assert!(of_rooms.is_subset(&closed("fanlight_room_frames_published_total", "kind")), "{of_rooms:?}");
    let commands = literals("src/ports/", &[".run(", ".run_aside(", ".probe(", ".remove(", ".send("]);
    same("fanlight_redis_commands_total", "command", commands);
    let mut answers = literals("src/ports/push/fcm/", &["reason:"]);
    answers.extend(["accepted", "connection_failed"].map(str::to_owned));
    let oauth: BTreeSet<&str> =
        answers.iter().map(String::as_str).filter(|it| it.starts_with("oauth")).collect();
    assert!(oauth.is_subset(&closed("fanlight_push_oauth_refreshes_total", "result")), "{oauth:?}");
    answers.retain(|answer| !answer.starts_with("oauth"));
    same("fanlight_push_requests_total", "result", answers);
}

#[test]
fn the_page_says_what_the_catalogue_says() {
    let page = read("docs/metrics.md");
    let (introduction, _) = page.split_once("\n## ").expect("the page has sections");
    let expected = format!("{introduction}{}", catalogue::tables());
    if page != expected {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("metrics.md");
        fs::write(&path, expected).unwrap();
        panic!("docs/metrics.md is not what src/telemetry/catalogue says: copy {} over it", path.display());
    }
}

/// Fails on a name that is neither in the catalogue nor recorded by a rule. Returns those of the catalogue.
pub fn assert_known(place: &str, names: &BTreeSet<String>) -> BTreeSet<String> {
    let recorded = super::rules::recorded();
    let mut of_the_catalogue = BTreeSet::new();
    for name in names {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        let histogram = of_histogram.and_then(catalogue::find);
        let metric = catalogue::find(name).or(histogram.filter(|it| matches!(it.kind, Kind::Histogram(_))));
        match metric {
            Some(metric) => {
                of_the_catalogue.insert(metric.name.to_owned());
            }
            None => assert!(recorded.contains(name), "{place}: nobody counts {name}"),
        }
    }
    of_the_catalogue
}
