//! The rules of Prometheus: what they record, when they call somebody, and what that person finds.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use super::catalogue::assert_known;
use super::files::{metric_names, program as program_text};
use super::prometheus::program;
use crate::tree::{files, read, root};

const SEVERITIES: [&str; 4] = ["critical", "warning", "info", "none"];

/// The names that recording rules give.
pub fn recorded() -> BTreeSet<String> {
    values(&read("deploy/prometheus/rules/recording.yml"), "- record: ").map(str::to_owned).collect()
}

/// What stands behind this key, in every line that has it.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.trim_start().strip_prefix(key)).map(str::trim)
}

/// Name and text of each alert.
fn alerts() -> Vec<(String, String)> {
    let text = read("deploy/prometheus/rules/alerts.yml");
    let alerts = text.split("- alert: ").skip(1).map(|rule| {
        let (name, rule) = rule.split_once('\n').unwrap();
        (name.to_owned(), rule.to_owned())
    });
    alerts.collect()
}

fn promtool(arguments: &[&str], paths: &[PathBuf]) {
    let output = Command::new(program("promtool")).args(arguments).args(paths).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {arguments:?}\n{}", String::from_utf8_lossy(&said));
}

#[test]
fn prometheus_takes_the_configuration_and_the_rules() {
    promtool(&["check", "config"], &[root().join("deploy/prometheus/prometheus.yml")]);
    let rules =
        ["recording", "alerts"].map(|name| root().join(format!("deploy/prometheus/rules/{name}.yml")));
    promtool(&["check", "rules"], &rules);
}

#[test]
fn every_alert_fires_when_it_should_and_not_otherwise() {
    let tests = files("deploy/prometheus/rules/tests", "yml");
    promtool(&["test", "rules"], &tests);
    let tests: String = tests.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let names: BTreeSet<&str> = values(&tests, "- name: ").collect();
    for (alert, rule) in alerts() {
        assert!(names.contains(&*format!("{alert} fires")), "{alert} is not tested");
        // The watchdog always fires.
        let always = values(&rule, "severity: ").next() == Some("none");
        assert!(
            always || names.contains(&*format!("{alert} does not fire")),
            "{alert} is tested only when it fires"
        );
    }
}

#[test]
fn every_alert_says_what_it_means_and_has_a_runbook() {
    let operations = read("docs/operations.md");
    let mut runbooks: BTreeSet<PathBuf> = files("deploy/runbooks", "md").into_iter().collect();
    for (alert, rule) in alerts() {
        let severity = values(&rule, "severity: ").next().unwrap_or_default();
        assert!(SEVERITIES.contains(&severity), "{alert}: severity {severity}");
        for key in ["summary: ", "description: "] {
            assert!(values(&rule, key).next().is_some_and(|text| !text.is_empty()), "{alert}: no {key}");
        }
        let path = format!("deploy/runbooks/{alert}.md");
        assert_eq!(values(&rule, "runbook_url: ").collect::<Vec<_>>(), [&path]);
        let page = read(&path);
        for part in
            [&format!("# {alert}\n"), "\n## How to look\n", "\n## What to do\n", &format!("`{severity}`")]
        {
            assert!(page.contains(part), "{path} lacks {part:?}");
        }
        let listed = operations.contains(&format!("| {severity} | [{alert}](../{path}) |"));
        assert!(listed, "docs/operations.md does not list {alert}");
        runbooks.remove(&root().join(path));
    }
    assert!(runbooks.is_empty(), "of no alert: {runbooks:?}");
}

/// The settings, as `sockets.connections_max`, and their sections.
fn settings() -> BTreeSet<String> {
    let text = read("config/default.toml");
    let mut section = String::new();
    let mut keys = BTreeSet::new();
    for line in text.lines().map(|line| line.trim_start_matches(['#', ' '])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut section);
            keys.insert(section.clone());
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.insert(format!("{section}.{key}"));
        }
    }
    keys
}

#[test]
fn rules_runbooks_and_pages_name_what_there_is() {
    const FILES: [&str; 5] = [".rs", ".md", ".js", ".json", ".lua"];
    let settings = settings();
    // Tasks, spans and their attributes have such names, too.
    let code: String = program_text().into_iter().map(|(_, text)| text).collect();
    let sections: BTreeSet<&str> = settings.iter().filter_map(|key| key.split('.').next()).collect();
    let alerts: BTreeSet<String> = alerts().into_iter().map(|(name, _)| name).collect();
    let folders =
        [("deploy/runbooks", "md"), ("deploy/prometheus", "yml"), ("docs", "md"), ("clients", "md")];
    let pages = folders.into_iter().flat_map(|(folder, extension)| files(folder, extension));
    let top = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name));
    for path in pages.chain(top) {
        let (place, text) = (path.display().to_string(), std::fs::read_to_string(&path).unwrap());
        // The names of groups and tests are no metrics, those of hosts no settings.
        let lines = text.lines().filter(|line| !line.contains("name: "));
        let chunks = lines.flat_map(str::split_whitespace).filter(|chunk| !chunk.contains("://"));
        let text: String = chunks.flat_map(|chunk| [chunk, " "]).collect();
        // `fanlight_outbox_…` stands for all of them.
        let names = metric_names(&text).into_iter().filter(|name| !name.ends_with('_'));
        assert_known(&place, &names.collect());
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.');
        for word in words.map(|word| word.trim_matches('.')) {
            let key = word.strip_prefix("FANLIGHT__").map(|key| key.to_lowercase().replace("__", "."));
            // `FANLIGHT__SECTION__KEY` stands for all of them.
            if let Some(key) = key.filter(|key| !key.starts_with("section")) {
                let is_setting = settings.contains(&key) || settings.contains(key.trim_end_matches("_file"));
                assert!(is_setting, "{place}: there is no setting {word}");
            }
            let is_setting = word.split_once('.').is_some_and(|(section, key)| {
                sections.contains(section) && key.starts_with(|c: char| c.is_ascii_lowercase())
            });
            let is_another =
                || code.contains(&format!("\"{word}\"")) || FILES.iter().any(|ending| word.ends_with(ending));
            if is_setting && !settings.contains(word) {
                assert!(is_another(), "{place}: there is no setting {word}");
            }
            if word.starts_with("Fanlight") && word.len() > "Fanlight".len() {
                let word = word.trim_end_matches(".md");
                assert!(alerts.contains(word), "{place}: there is no alert {word}");
            }
        }
    }
}
