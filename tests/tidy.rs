//! Reads our sources and holds them to the house rules that no lint knows.
//!
//! Which way imports may point, how long a file may be, which words name nothing. Each complaint says where, and
//! what to do about it.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

mod tree;

use tree::{files, read, root};

/// Files may be this long ...
const LINES_MAX: usize = 250;
/// ... and these, for a reason, up to this. Tests, inline or in a file of their own, may be so long anyway.
const LINES_MAX_LONG: usize = 400;
const LONG_FILES: &[(&str, &str)] = &[("src/features/devices/repository.rs", "all statements on one table")];

/// Words that name nothing: say what the thing does.
const BANNED_NAMES: &[&str] =
    &["manager", "util", "utils", "helper", "helpers", "common", "misc", "handle_data"];

/// Who may import whom: each only what stands further down.
const LAYERS: &[(&str, u8)] = &[
    ("serve", 8),
    ("app", 7),
    ("dev", 7),
    ("documents", 6),
    ("features", 5),
    ("edge", 4),
    ("delivery", 3),
    ("ports", 2),
    ("domain", 1),
];
/// What everybody may use, and what these may use of ours themselves.
const FOUNDATIONS: &[(&str, &[&str])] = &[
    ("db", &[]),
    ("shutdown", &[]),
    ("failpoint", &[]),
    ("seeded_bug", &[]),
    ("systemd", &["shutdown"]),
    ("telemetry", &["shutdown"]),
];
/// Knows the settings of every part; only who starts parts may know it.
const CONFIG_READERS: &[&str] = &["app", "dev", "main", "serve"];

struct Source {
    /// From the root of the repository.
    path: String,
    text: String,
}

impl Source {
    /// `src/edge/ws/close.rs` is part of `edge`, `src/db.rs` is `db`.
    fn part(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or_default();
        inside.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    fn feature(&self) -> Option<&str> {
        self.path.strip_prefix("src/features/")?.split_once('/').map(|(feature, _)| feature)
    }

    fn is_test(&self) -> bool {
        const TEST_FILES: &[&str] = &["tests.rs", "contract.rs", "failures.rs", "fixture.rs"];
        let file = self.path.rsplit('/').next().unwrap_or_default();
        self.path.starts_with("tests/") || self.path.contains("/tests/") || TEST_FILES.contains(&file)
    }

    /// The lines of the program, with their numbers: without its tests, which stand at the end, and comments.
    fn program(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let program = if self.is_test() { "" } else { &self.text[..end] };
        lines_without_comments(program)
    }

    fn all_code(&self) -> impl Iterator<Item = (usize, &str)> {
        lines_without_comments(&self.text)
    }
}

fn lines_without_comments(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn sources() -> Vec<Source> {
    let paths = ["src", "tests", "chaos", "loadtest", "fuzz/src", "fuzz/fuzz_targets"]
        .into_iter()
        .flat_map(|folder| files(folder, "rs"));
    let sources = paths.map(|path| {
        let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        Source { text: read(&path), path }
    });
    // This file quotes what it forbids.
    sources.filter(|source| source.path != "tests/tidy.rs").collect()
}

/// Fails with all complaints at once.
fn nothing_wrong(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The words of a line, split where an identifier ends.
fn identifiers(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// `crate::a::b` as `["a", "b"]`; of `crate::{a::b, c}` each item of the list.
fn imports(statement: &str) -> Vec<Vec<&str>> {
    let path = |text: &'_ str| {
        text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(text.len())
    };
    let names = |text| -> Vec<&str> { str::split(text, "::").filter(|name| !name.is_empty()).collect() };
    let mut found = Vec::new();
    for (at, matched) in statement.match_indices("crate::") {
        let rest = &statement[at + matched.len()..];
        match rest.strip_prefix('{') {
            None => found.push(names(&rest[..path(rest)])),
            Some(list) => {
                found.extend(items(list).into_iter().map(|item| names(&item[..path(item)])));
            }
        }
    }
    found
}

/// The items of `a::{b, c}, d}…`, up to the closing brace.
fn items(list: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut found) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                found.push(list[begin..at].trim());
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

/// Puts an import that stands on several lines on one; its number is that of its first line.
fn statements<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for (number, line) in lines {
        let open = found.last_mut().filter(|(_, text)| {
            let text = text.trim_start();
            (text.starts_with("use ") || text.starts_with("pub use ")) && !text.ends_with(';')
        });
        match open {
            Some((_, text)) => text.push_str(line.trim()),
            None => found.push((number, line.to_owned())),
        }
    }
    found
}

fn layer(part: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == part).map(|(_, height)| *height)
}

/// Why `from` may not import `to`.
fn refusal(from: &str, to: &str) -> Option<&'static str> {
    if from == to || from == "main" || from == "lib" || from == "config" {
        return None;
    }
    if to == "config" {
        let known = CONFIG_READERS.contains(&from);
        return (!known)
            .then_some("take your own module's `Config` as a parameter; only app reads all of it");
    }
    if let Some((_, allowed)) = FOUNDATIONS.iter().find(|(name, _)| *name == from) {
        let down = allowed.contains(&to);
        return (!down).then_some("everybody uses this module, so it may use nobody: pass in what it needs");
    }
    if FOUNDATIONS.iter().any(|(name, _)| *name == to) {
        return (from == "domain").then_some("domain is pure words: move what needs this one layer up");
    }
    match (layer(from), layer(to)) {
        (Some(from), Some(to)) if from > to => None,
        (None, _) => Some("this part has no layer: add it to LAYERS or FOUNDATIONS in tests/tidy.rs"),
        _ => Some(
            "imports run app/dev → features → edge → delivery → ports → domain: move it down, or pass it in",
        ),
    }
}

#[test]
fn imports_point_down() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("src/")) {
        for (number, statement) in statements(source.program()) {
            for import in imports(&statement) {
                let first = import.first().copied().unwrap_or_default();
                let is_part = layer(first).is_some()
                    || first == "config"
                    || FOUNDATIONS.iter().any(|(name, _)| *name == first);
                if is_part && let Some(advice) = refusal(source.part(), first) {
                    complaints.push(format!("{}:{number}: imports crate::{first}; {advice}", source.path));
                }
            }
        }
    }
    nothing_wrong(&complaints);
}

#[test]
fn features_meet_only_at_their_front_door() {
    let mut complaints = Vec::new();
    for source in &sources() {
        let Some(own) = source.feature() else { continue };
        for (number, statement) in statements(source.program()) {
            for import in imports(&statement) {
                let ["features", other, inside, ..] = import[..] else { continue };
                let folder = root().join("src/features").join(other);
                let is_module = folder.join(inside).is_dir() || folder.join(format!("{inside}.rs")).is_file();
                if other != own && is_module {
                    complaints.push(format!(
                        "{}:{number}: reaches into {other}::{inside}; use what {other}/mod.rs exports, or export it there",
                        source.path
                    ));
                }
            }
        }
    }
    nothing_wrong(&complaints);
}

#[test]
fn files_are_short() {
    let mut complaints = Vec::new();
    let sources = sources();
    for source in &sources {
        let (whole, program) = (source.text.lines().count(), source.program().count());
        let reason = LONG_FILES.iter().find(|(path, _)| *path == source.path);
        if whole > LINES_MAX_LONG {
            complaints.push(format!(
                "{}: {whole} lines, more than {LINES_MAX_LONG}; split it into one idea per file",
                source.path
            ));
        } else if program > LINES_MAX && reason.is_none() {
            complaints.push(format!(
                "{}: {program} lines without tests and comments, more than {LINES_MAX}; split it, or say in LONG_FILES why it cannot be",
                source.path
            ));
        }
    }
    for (path, _) in LONG_FILES {
        let listed = sources.iter().find(|source| source.path == *path);
        if listed.is_none_or(|source| source.program().count() <= LINES_MAX) {
            complaints.push(format!("{path} is in LONG_FILES, but is not long; remove it from the list"));
        }
    }
    nothing_wrong(&complaints);
}

#[test]
fn names_say_something() {
    let mut complaints = Vec::new();
    for source in &sources() {
        let stems = source.path.trim_end_matches(".rs").split('/');
        for stem in stems.filter(|stem| BANNED_NAMES.contains(stem)) {
            complaints
                .push(format!("{}: `{stem}` says nothing; name the file by what is in it", source.path));
        }
        for (number, line) in source.all_code() {
            let Some(name) = declared(line) else { continue };
            let lower = name.to_lowercase();
            if is_banned(&lower) {
                complaints
                    .push(format!("{}:{number}: `{name}` says nothing; name what it does", source.path));
            }
            if name.starts_with("get_") {
                complaints.push(format!(
                    "{}:{number}: `{name}`; drop the `get_`: Rust names a getter by what it returns",
                    source.path
                ));
            }
        }
    }
    nothing_wrong(&complaints);
}

/// Whether a name, in lower case, is such a word or ends in one that stands for "thing".
fn is_banned(name: &str) -> bool {
    const SUFFIXES: &[&str] = &["manager", "util", "utils", "helper", "helpers"];
    BANNED_NAMES.contains(&name) || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// The name that a line declares.
fn declared(line: &str) -> Option<&str> {
    let mut words = identifiers(line);
    while let Some(word) = words.next() {
        match word {
            "fn" | "struct" | "enum" | "trait" | "mod" | "type" | "const" | "static" => match words.next() {
                // `const fn`, `pub type`, `dyn trait` have one more word before the name.
                Some("fn") => return words.next(),
                name => return name,
            },
            "pub" | "crate" | "super" | "in" | "async" | "unsafe" | "default" => {}
            _ => return None,
        }
    }
    None
}

#[test]
fn a_module_is_a_file_or_a_folder() {
    let paths: BTreeSet<String> = sources().into_iter().map(|source| source.path).collect();
    let complaints: Vec<String> = paths
        .iter()
        .filter(|path| root().join(path.trim_end_matches(".rs")).is_dir())
        .map(|path| format!("{path} stands beside the folder of its name; make it the folder's mod.rs"))
        .collect();
    nothing_wrong(&complaints);
}

#[test]
fn every_file_says_what_it_is() {
    let complaints: Vec<String> = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| {
            format!(
                "{}: begins without `//! …`; say in one line what a product person would understand",
                source.path
            )
        })
        .collect();
    nothing_wrong(&complaints);
}

#[test]
fn nothing_is_left_undone_or_silenced() {
    const FORBIDDEN: &[(&str, &str)] = &[
        ("todo!", "do it, or leave it out and say so in the commit"),
        ("unimplemented!", "do it, or leave it out and say so in the commit"),
        ("#[allow", "use #[expect(lint, reason = \"…\")], which complains when it is no longer needed"),
        ("#![allow", "use #[expect(lint, reason = \"…\")], which complains when it is no longer needed"),
        ("TODO", "do it, or leave it out and say so in the commit"),
        ("FIXME", "do it, or leave it out and say so in the commit"),
    ];
    let mut complaints = Vec::new();
    for source in &sources() {
        for (number, line) in (1..).zip(source.text.lines()) {
            for (word, advice) in FORBIDDEN.iter().filter(|(word, _)| line.contains(word)) {
                complaints.push(format!("{}:{number}: `{word}`; {advice}", source.path));
            }
        }
    }
    nothing_wrong(&complaints);
}

#[test]
fn migrations_are_numbered_without_a_gap() {
    let mut complaints = Vec::new();
    for (expected, path) in (1..).zip(files("migrations", "sql")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.starts_with(&format!("{expected:04}_")) {
            complaints.push(format!(
                "migrations/{name}: expected {expected:04}_….sql; give it the next free number"
            ));
        }
    }
    nothing_wrong(&complaints);
}

/// The rules themselves: a check that never complains would look the same as tidy sources.
#[test]
fn the_checks_see_what_they_forbid() {
    assert_eq!(
        imports("use crate::{db, edge::{auth, http::Json}, ports::push::Push};"),
        [vec!["db"], vec!["edge"], vec!["ports", "push", "Push"]]
    );
    assert_eq!(imports("let a = crate::app::start(crate::db::pool());"), [["app", "start"], ["db", "pool"]]);
    let split = "use crate::{\n    app,\n    db,\n};\nlet a;";
    assert_eq!(statements(lines_without_comments(split))[0], (1, "use crate::{app,db,};".to_owned()));

    for (from, to) in [
        ("domain", "ports"),
        ("domain", "db"),
        ("ports", "delivery"),
        ("delivery", "edge"),
        ("edge", "features"),
        ("features", "app"),
        ("features", "dev"),
        ("app", "dev"),
        ("edge", "config"),
        ("db", "domain"),
        ("shutdown", "telemetry"),
        ("brand_new", "domain"),
    ] {
        assert!(refusal(from, to).is_some(), "{from} → {to}");
    }
    for (from, to) in
        [("app", "features"), ("edge", "delivery"), ("ports", "domain"), ("edge", "db"), ("app", "config")]
    {
        assert_eq!(refusal(from, to), None, "{from} → {to}");
    }

    assert_eq!(declared("    pub(crate) async fn get_user(&self) {"), Some("get_user"));
    assert_eq!(declared("pub const fn handle_data() {"), Some("handle_data"));
    assert!(["common", "connectionmanager", "string_utils", "handle_data"].into_iter().all(is_banned));
    assert!(!["common_answers", "manage", "utilization"].into_iter().any(is_banned));
    assert_eq!(declared("    map.get_all(ORIGIN)"), None);
    let source = |path: &str| Source {
        path: path.to_owned(),
        text: "use a;\n#[cfg(test)]\nmod tests {\nuse b;".to_owned(),
    };
    assert_eq!(source("src/edge/ws/close.rs").part(), "edge");
    assert_eq!(source("src/db.rs").part(), "db");
    assert_eq!(source("src/features/status/mod.rs").feature(), Some("status"));
    assert_eq!(source("src/db.rs").program().collect::<Vec<_>>(), [(1, "use a;")]);
    assert_eq!(source("src/features/status/tests.rs").program().count(), 0);
}
