//! What of the files of this repository is a metric.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::tree::{files, root};

/// The program in `src`, file by file: without tests and comments.
pub fn program() -> Vec<(String, String)> {
    let is_test = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let in_folder = path.components().any(|part| part.as_os_str() == "tests");
        in_folder || ["tests.rs", "contract.rs", "failures.rs", "fixture.rs"].contains(&name)
    };
    let paths = files("src", "rs").into_iter().filter(|path| !is_test(path));
    paths
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
            let lines = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            (name, lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

/// The string literals that stand directly behind `before`.
pub fn literals_behind<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    let literal = |rest: &'a str| rest.trim_start().strip_prefix('"')?.split('"').next();
    text.match_indices(before).filter_map(|(at, _)| literal(&text[at + before.len()..])).collect()
}

/// The words of an expression that can be names of metrics of ours.
pub fn metric_names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let ours = |word: &&str| word.starts_with("fanlight_") || word.starts_with("process_");
    words.filter(ours).map(str::to_owned).collect()
}
