//! The spans that `docs/tracing.md` lists are those of the code.

use std::collections::BTreeSet;

use super::files::{literals_behind, program};
use crate::tree::read;

/// All literals that stand behind one of these in the program.
fn of_code(before: &[&str]) -> BTreeSet<String> {
    let files = program();
    let found = files.iter().flat_map(|(_, text)| before.iter().flat_map(|it| literals_behind(text, it)));
    found.map(str::to_owned).collect()
}

/// What stands in backticks in a column of the table.
fn of_page(column: usize) -> BTreeSet<String> {
    let page = read("docs/tracing.md");
    let (_, table) = page.split_once("| span | kind |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let cells = table.lines().skip(2).map(|row| row.split('|').nth(column).unwrap());
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    // The one that is made of method and route.
    quoted.filter(|word| !word.contains('/')).map(str::to_owned).collect()
}

#[test]
fn the_page_lists_the_spans_and_attributes_of_the_code() {
    let kinds = ["Internal", "Client", "Producer", "Consumer"].map(|kind| format!("SpanKind::{kind},"));
    let mut before: Vec<&str> = kinds.iter().map(String::as_str).collect();
    before.extend(["traces::statement(", "Span::since(began, self.trace,"]);
    assert_eq!(of_page(1), of_code(&before), "the spans");
    assert_eq!(of_page(3), of_code(&["span.set(", ".with(", ".with_id("]), "their attributes");
}
