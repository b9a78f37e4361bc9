//! Holds the pages to what is there: files, headings, tests and commands that they name.
//!
//! Settings, metrics and alerts are looked after in `tests/it/observability`, the socket's tables and frames in
//! `src/edge/ws/tests/documented.rs`.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

mod tree;

use tree::{files, read, root};

/// Not ours, though they lie here.
const FOREIGN_FOLDERS: [&str; 2] = ["target", "node_modules"];

struct Page {
    /// From the root of the repository.
    name: String,
    text: String,
}

impl Page {
    fn path(&self) -> PathBuf {
        root().join(&self.name)
    }

    /// The lines of its prose, without blocks of code.
    fn prose(&self) -> impl Iterator<Item = &str> {
        let mut is_code = false;
        self.text.lines().filter(move |line| {
            let is_fence = line.trim_start().starts_with("```");
            is_code ^= is_fence;
            !is_code && !is_fence
        })
    }

    /// The files that it links to, and the place in each if the link names one.
    fn links(&self) -> Vec<(&str, Option<&str>)> {
        let targets = self.prose().flat_map(|line| line.split("](").skip(1));
        let targets = targets.map(|rest| rest.split(')').next().unwrap());
        let ours = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
        ours.map(|target| target.split_once('#').map_or((target, None), |(file, place)| (file, Some(place))))
            .collect()
    }

    /// Its headings, as GitHub names them in an address.
    fn anchors(&self) -> BTreeSet<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let headings = self.prose().filter_map(|line| {
            line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'))
        });
        headings
            .map(|heading| {
                let anchor = anchor(heading);
                let times = seen.entry(anchor.clone()).or_default();
                *times += 1;
                if *times == 1 { anchor } else { format!("{anchor}-{}", *times - 1) }
            })
            .collect()
    }

    /// What it shows in a fixed width, as somebody would type it: spans of code, and lines of blocks.
    fn code(&self) -> Vec<&str> {
        let mut found: Vec<&str> = self.prose().flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
        let mut is_code = false;
        for line in self.text.lines() {
            let line = line.trim_start();
            if line.starts_with("```") {
                is_code = !is_code;
            } else if is_code {
                found.push(line.trim_start_matches("$ "));
            }
        }
        found
    }
}

fn anchor(heading: &str) -> String {
    // Of a link only its text is shown.
    let shown: String = match heading.split_once("](") {
        Some((before, after)) => [before, after.split_once(')').map_or("", |(_, rest)| rest)].concat(),
        None => heading.to_owned(),
    };
    let kept = shown.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// All pages of this repository, in the root and in its folders.
fn pages() -> Vec<Page> {
    let names = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let inside = |name: String| {
        let path = root().join(&name);
        let is_ours = !is_foreign(Path::new(&name));
        if is_ours && path.is_dir() { files(&name, "md") } else { vec![path] }
    };
    let paths = names.flat_map(inside).map(|path| path.strip_prefix(root()).unwrap().to_owned());
    let ours = paths.filter(|path| !is_foreign(path) && path.extension().is_some_and(|it| it == "md"));
    ours.map(|path| path.to_str().unwrap().to_owned()).map(|name| Page { text: read(&name), name }).collect()
}

fn is_foreign(path: &Path) -> bool {
    path.iter()
        .map(|part| part.to_str().unwrap())
        .any(|part| part.starts_with('.') || FOREIGN_FOLDERS.contains(&part))
}

/// Fails with all complaints at once.
fn nothing_wrong(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Whether `source` has a test of this name.
fn has_test(source: &str, name: &str) -> bool {
    let Some(at) = source.find(&format!("fn {name}(")) else { return false };
    // Its attributes stand right before it.
    let before = source[..at].rsplit("\n\n").next().unwrap();
    before.contains("test]") || before.contains("test(")
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let (mut complaints, mut tests) = (Vec::new(), 0);
    for page in &pages {
        for (file, place) in page.links() {
            let target = if file.is_empty() { page.path() } else { page.path().parent().unwrap().join(file) };
            let Ok(target) = target.canonicalize() else {
                complaints.push(format!("{}: there is no {file}", page.name));
                continue;
            };
            let Some(place) = place else { continue };
            let leads = match target.extension().and_then(|it| it.to_str()) {
                Some("rs") => {
                    tests += 1;
                    has_test(&fs::read_to_string(&target).unwrap(), place)
                }
                Some("md") => {
                    let page = pages.iter().find(|page| page.path().canonicalize().unwrap() == target);
                    page.is_some_and(|page| page.anchors().contains(place))
                }
                _ => false,
            };
            if !leads {
                complaints.push(format!("{}: there is no {place} in {file}", page.name));
            }
        }
    }
    nothing_wrong(&complaints);
    assert!(tests > 100, "the promise and its windows link to their tests");
}

#[test]
fn every_page_of_docs_is_in_its_index() {
    let pages = pages();
    let index = pages.iter().find(|page| page.name == "docs/README.md").unwrap();
    let listed: BTreeSet<&str> = index.links().into_iter().map(|(file, _)| file).collect();
    let complaints: Vec<String> = files("docs", "md")
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "README.md" && !listed.contains(&**name))
        .map(|name| format!("docs/README.md does not list {name}"))
        .collect();
    nothing_wrong(&complaints);
}

#[test]
fn every_command_that_a_page_names_is_one() {
    let help = Command::new(env!("CARGO_BIN_EXE_fanlight")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let commands: BTreeSet<&str> =
        commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let mut complaints = Vec::new();
    for page in pages() {
        for code in page.code() {
            let Some(arguments) = code.strip_prefix("fanlight ") else { continue };
            let word = arguments.split_whitespace().next().unwrap_or_default();
            if !word.starts_with('-') && !commands.contains(word) {
                complaints.push(format!("{}: `{code}`: there is no such command", page.name));
            }
        }
    }
    nothing_wrong(&complaints);
}

/// What a person writes for the value of a setting: `64 KiB`, `100,000`, `2 s` of one in milliseconds.
fn number(text: &str, setting: &str) -> Option<i64> {
    let (digits, unit) = text.split_once(' ').unwrap_or((text, ""));
    let factor = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "s" if setting.ends_with("_ms") => 1_000,
        "" | "h" => 1,
        _ => return None,
    };
    Some(digits.replace(',', "").parse::<i64>().ok()? * factor)
}

#[test]
fn the_limits_of_the_operators_page_are_the_defaults() {
    let defaults: toml::Table = toml::from_str(&read("config/default.toml")).unwrap();
    let default = |setting: &str| {
        let mut keys = setting.split('.');
        let section = defaults.get(keys.next()?)?;
        keys.try_fold(section, |value, key| value.get(key))?.as_integer()
    };
    let page = read("docs/operations.md");
    let section = page.split("\n## Limits\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let (mut complaints, mut compared) = (Vec::new(), 0);
    for row in section.lines().filter_map(|line| line.strip_prefix("| ")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let settings = cells[0].split('`').skip(1).step_by(2).filter(|setting| setting.contains('.'));
        let values: Vec<&str> = cells[1].split(", ").collect();
        for (at, setting) in settings.enumerate() {
            // One value may stand for all.
            let value = values.get(at).or_else(|| values.last()).unwrap();
            compared += 1;
            if number(value, setting).is_none_or(|value| Some(value) != default(setting)) {
                complaints.push(format!("docs/operations.md: {setting} is not {value}"));
            }
        }
    }
    nothing_wrong(&complaints);
    assert!(compared > 20);
}

/// The checks themselves: one that never complains would look the same as pages that are true.
#[test]
fn the_checks_see_what_they_look_for() {
    let text = "# One `two`, three\n\n## Twice\n\n## Twice\n\n[a](b.md#c) and [d](e.rs) `fanlight f`\n\n\
        ```console\n# No heading\n$ fanlight g\n[h](i)\n```\n";
    let page = Page { name: "page.md".to_owned(), text: text.to_owned() };
    assert_eq!(page.links(), [("b.md", Some("c")), ("e.rs", None)]);
    assert_eq!(page.anchors(), ["one-two-three", "twice", "twice-1"].map(str::to_owned).into());
    assert_eq!(page.code(), ["two", "fanlight f", "# No heading", "fanlight g", "[h](i)"]);
    assert_eq!(anchor("[0.1.0](https://example.org) – now"), "010--now");
    assert!(has_test("\n\n#[tokio::test]\nasync fn it_is() {", "it_is"));
    assert!(!has_test("#[test]\nfn other() {}\n\nfn it_is() {", "it_is"));
    assert_eq!(number("64 KiB", "a.bytes_max"), Some(65_536));
    assert_eq!(number("100,000", "a.connections_max"), Some(100_000));
    assert_eq!(number("2 s", "a.timeout_ms"), Some(2_000));
    assert_eq!(number("many", "a.connections_max"), None);
}
