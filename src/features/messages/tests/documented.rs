//! `docs/protocol.md` shows what a channel is told as it is told.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::features::channels::Notice;
use crate::features::messages::{commands, room_events};

const PAGE: &str = include_str!("../../../../docs/protocol.md");

fn fields(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn each_has_an_example_with_all_its_fields() {
    let section = PAGE.split("\n## What a channel is told\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with("{\"type\":"));
    let documented: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let notices = Notice::examples();
    let notices = notices.iter().map(|notice| (notice.kind(), serde_json::to_value(notice).unwrap()));
    let told: Vec<_> =
        room_events().into_iter().map(|event| (event.kind, event.example)).chain(notices).collect();
    for (kind, served) in &told {
        let example = documented.iter().find(|example| example["type"] == *kind);
        let example = example.unwrap_or_else(|| panic!("no example of {kind}"));
        assert_eq!(fields(example), fields(served), "{kind}");
        assert!(section.contains(&format!("`{kind}`")), "{kind}");
    }
    assert_eq!(documented.len(), told.len());
}

#[test]
fn the_command_has_the_example_of_the_documents() {
    let section = PAGE.split("\n## Writing in a channel\n").nth(1).unwrap().split("\n## ").next().unwrap();
    for (example, _) in commands() {
        let line = section.lines().find(|line| line.starts_with("{\"type\":\"SEND\"")).unwrap();
        assert_eq!(serde_json::from_str::<Value>(line).unwrap(), example);
    }
}
