//! What a run found: for the terminal, for a file, and on top of goose's own HTML report.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;

use crate::machine::Machine;
use crate::options::Options;
use crate::tally::{Counts, Fault, Span};
use crate::truth::Ending;
use crate::verdict::{Changes, Limits, Verdict, millis, quantiles};

/// Goose's title, below which ours goes.
const TITLE: &str = "<h1>Goose Attack Report</h1>";

pub struct Report {
    pub target: String,
    pub machine: Machine,
    pub couples: usize,
    /// Pairs of people who link and part.
    pub guests: usize,
    pub rooms: usize,
    /// In all rooms.
    pub people: usize,
    pub run_time: Duration,
    pub pace: Duration,
    pub limits: Limits,
    pub restarted: usize,
    /// Those that FCM took; nothing if nobody saw it.
    pub pushes: Option<usize>,
    pub endings: Vec<Ending>,
    pub verdict: Verdict,
}

/// The summary, in Markdown.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    write_all(&mut text, report).expect("writing to a string never fails");
    text
}

fn write_all(text: &mut String, report: &Report) -> std::fmt::Result {
    let Report { target, machine, couples, guests, rooms, people, run_time, pace, limits, .. } = report;
    let restarted = report.restarted;
    let verdict = &report.verdict;
    writeln!(text, "# Load test: {}\n", if verdict.passed() { "passed" } else { "FAILED" })?;
    for complaint in &verdict.complaints {
        writeln!(text, "* **{complaint}**")?;
    }
    if !verdict.passed() {
        writeln!(text)?;
    }
    writeln!(text, "* Target: {target}")?;
    writeln!(
        text,
        "* Machine: {}; {}",
        machine.line(),
        if report.pushes.is_some() { "the cluster and this program share it" } else { "this program's" }
    )?;
    let (seconds, pace) = (run_time.as_secs(), pace.as_millis());
    if *couples > 0 {
        writeln!(
            text,
            "* Load: {couples} couples for {seconds} s (those that change lights do so every {pace} ms), and {guests} pairs who link and part"
        )?;
    }
    if *rooms > 0 {
        writeln!(
            text,
            "* Load: {rooms} rooms with {people} people for {seconds} s, in each of which something is said every {pace} ms"
        )?;
    }
    if restarted > 0 {
        writeln!(text, "* {restarted} nodes were restarted meanwhile, one after the other")?;
    }
    writeln!(
        text,
        "* Limits: p99 of a delivery and of a message {} ms, failed requests {} %, and nothing of the first table\n",
        limits.p99_ms, limits.errors_percent
    )?;
    faults(text, &verdict.counts)?;
    spans(text, &verdict.counts)?;
    around(text, report)?;
    endings(text, &report.endings)
}

fn faults(text: &mut String, counts: &Counts) -> std::fmt::Result {
    writeln!(text, "| must not happen | count |\n|---|---|")?;
    for fault in Fault::ALL {
        writeln!(text, "| {} | {} |", fault.title(), counts.faulty(fault))?;
    }
    writeln!(text)?;
    for (fault, cases) in &counts.faults {
        for example in &cases.examples {
            writeln!(text, "* {}: {example}", fault.title())?;
        }
    }
    if !counts.faults.is_empty() {
        writeln!(text)?;
    }
    Ok(())
}

fn spans(text: &mut String, counts: &Counts) -> std::fmt::Result {
    writeln!(text, "| time | count | p50 | p90 | p99 | p99.9 | max |\n|---|---|---|---|---|---|---|")?;
    for span in Span::ALL {
        let Some(histogram) = counts.spans.get(&span) else { continue };
        let [p50, p90, p99, p999, max] = quantiles(histogram).map(millis);
        let (title, count) = (span.title(), histogram.len());
        writeln!(text, "| {title} | {count} | {p50} | {p90} | {p99} | {p999} | {max} |")?;
    }
    writeln!(text)
}

fn around(text: &mut String, report: &Report) -> std::fmt::Result {
    let Verdict { changes, messages, counts, requests, requests_failed, .. } = &report.verdict;
    let Changes { done, refused, unknown, placed, crossed } = changes;
    writeln!(
        text,
        "* Changes: {done} answered 2xx, {refused} refused, {unknown} without an answer that says something"
    )?;
    if report.rooms > 0 {
        let Changes { done, refused, unknown, .. } = messages;
        let told = counts.spans.get(&Span::Message).map_or(0, Histogram::len);
        writeln!(
            text,
            "* Messages: {done} written, {refused} refused, {unknown} without an answer that says something; {told} times told"
        )?;
    }
    if *placed > 0 {
        writeln!(
            text,
            "* {crossed} of {placed} status changes were taken by one node and delivered by another"
        )?;
    } else if *done > 0 {
        writeln!(
            text,
            "* Which node did what is not known: the load balancer does not say it in `x-served-by`"
        )?;
    }
    writeln!(text, "* Requests and handshakes: {requests}, of which {requests_failed} failed")?;
    writeln!(text, "* Repeats that clients dropped by their seq after a reconnect: {}", counts.repeats)?;
    match report.pushes {
        Some(pushes) => writeln!(text, "* Pushes that FCM took: {pushes}")?,
        None => writeln!(text, "* Pushes: not seen from here")?,
    }
    table(text, "Connections that the server ended, by close code", &counts.closes)?;
    table(text, "Handshakes refused, by status (0: no answer)", &counts.refused)?;
    if counts.unreported > 0 {
        writeln!(
            text,
            "* Measurements after goose's users had ended, which its own tables lack: {}",
            counts.unreported
        )?;
    }
    writeln!(text)
}

fn table(text: &mut String, title: &str, by_code: &BTreeMap<u16, u64>) -> std::fmt::Result {
    let cells: Vec<String> = by_code.iter().map(|(code, count)| format!("{code}: {count}")).collect();
    writeln!(text, "* {title}: {}", if cells.is_empty() { "none".to_owned() } else { cells.join(", ") })
}

fn endings(text: &mut String, endings: &[Ending]) -> std::fmt::Result {
    if endings.is_empty() {
        return Ok(());
    }
    writeln!(text, "| events ended as | count | commit → settled p50 | p99 |\n|---|---|---|---|")?;
    for Ending { outcome, reason, count, p50_ms, p99_ms } in endings {
        writeln!(text, "| {outcome} ({reason}) | {count} | {p50_ms:.1} ms | {p99_ms:.1} ms |")?;
    }
    Ok(())
}

/// Writes the summary where it was asked for, and onto goose's HTML reports.
pub fn write(options: &Options, text: &str) -> anyhow::Result<()> {
    if let Some(file) = &options.summary {
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let is_html = |file: &&String| [".html", ".htm"].iter().any(|end| file.ends_with(end));
    for file in options.goose.report_file.iter().filter(is_html) {
        let html = fs::read_to_string(file).with_context(|| format!("goose wrote no {file}"))?;
        fs::write(file, with_summary(&html, text)).with_context(|| format!("cannot write {file}"))?;
    }
    Ok(())
}

fn with_summary(html: &str, text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    html.replacen(TITLE, &format!("{TITLE}\n        <pre>{escaped}</pre>"), 1)
}
