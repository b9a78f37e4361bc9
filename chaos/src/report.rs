//! What a run found, for people (`report.md`) and programs (`report.json`).

use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use crate::checker::{Counts, Findings, Invariant};
use crate::faults::Fault;
use crate::growth::Growth;
use crate::history::Record;
use crate::options::{Options, ROOM_RATE, ROOMS};
use crate::promptness::{Bearing, Delays};

/// Of each invariant; the rest is in the history.
const VIOLATIONS_SHOWN: usize = 10;

#[derive(Debug, Serialize)]
pub struct Report {
    pub seed: u64,
    pub minutes: f64,
    pub users: usize,
    pub rate: f64,
    pub patience: u32,
    pub seeded_bug: Option<String>,
    pub command: String,
    /// Before anything was broken.
    pub healthy: Delays,
    pub healthy_rooms: Delays,
    pub findings: Findings,
    pub bearings: Vec<Bearing>,
    pub growth: Growth,
    /// The nodes that do not reach all their stores although everything has healed.
    pub unwell: Vec<String>,
    /// What could not be broken, or not be healed.
    pub troubles: Vec<String>,
}

impl Report {
    /// Whether the promise held: what must never happen, the goals, and no growth.
    pub fn is_green(&self) -> bool {
        self.findings.is_clean()
            && self.bearings.iter().all(|bearing| bearing.within_goals)
            && self.growth.grown.is_empty()
            && self.unwell.is_empty()
            && self.troubles.is_empty()
    }
}

/// How to do it again.
pub fn command(options: &Options) -> String {
    let Options { minutes, seed, users, rate, rooms, room_rate, patience, .. } = options;
    let mut text = format!(
        "cargo run --release -p chaos -- --minutes {minutes} --seed {seed} --users {users} --rate {rate}"
    );
    let add = |text: &mut String, more: String| text.push_str(&more);
    if (*rooms, *room_rate) != (ROOMS, ROOM_RATE) {
        add(&mut text, format!(" --rooms {rooms} --room-rate {room_rate}"));
    }
    if !options.faults.is_empty() {
        let names: Vec<String> = options.faults.iter().map(|fault| fault.name()).collect();
        add(&mut text, format!(" --faults {}", names.join(",")));
    }
    if options.no_pairs {
        add(&mut text, " --no-pairs".to_owned());
    }
    if *patience != 1 {
        add(&mut text, format!(" --patience {patience}"));
    }
    if let Some(bug) = options.bug() {
        add(&mut text, format!(" --seeded-bug {bug}"));
    }
    text
}

/// Writes the report; if it is not green, also everything that is needed to find out why.
pub fn write(options: &Options, report: &Report, records: &[Record], state: &Path) -> anyhow::Result<()> {
    let folder = folder(options);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(folder.join("report.json"), serde_json::to_string_pretty(report)?)?;
    fs::write(folder.join("report.md"), markdown(report))?;
    if report.is_green() {
        return Ok(());
    }
    let mut history = BufWriter::new(fs::File::create(folder.join("history.jsonl"))?);
    for record in records {
        serde_json::to_writer(&mut history, record)?;
        history.write_all(b"\n")?;
    }
    history.flush()?;
    keep_logs(options, state)
}

/// Copies what the nodes and their stores have said.
pub fn keep_logs(options: &Options, state: &Path) -> anyhow::Result<()> {
    let folder = folder(options);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for entry in fs::read_dir(state)?.flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().ends_with(".log") {
            fs::copy(entry.path(), folder.join(name))?;
        }
    }
    Ok(())
}

/// Where the files of a run are.
pub fn folder(options: &Options) -> PathBuf {
    let bug = options.bug().map_or(String::new(), |bug| format!("-{}", bug.replace('=', "-")));
    options.out.join(format!("seed-{}{bug}", options.seed))
}

/// The report for people.
pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    write_all(&mut text, report).expect("writing to a string never fails");
    text
}

fn write_all(text: &mut String, report: &Report) -> std::fmt::Result {
    let verdict = if report.is_green() { "the promise held" } else { "the promise was BROKEN" };
    writeln!(text, "# Chaos, seed {}: {verdict}\n", report.seed)?;
    writeln!(text, "    {}\n", report.command)?;
    if let Some(bug) = &report.seeded_bug {
        writeln!(text, "With the seeded bug `{bug}`.\n")?;
    }
    write_findings(text, &report.findings)?;
    write_bearings(text, report)?;
    write_growth(text, &report.growth)?;
    for node in &report.unwell {
        writeln!(text, "* Not well in the end: {node}")?;
    }
    for trouble in &report.troubles {
        writeln!(text, "* Could not be broken, or not be healed: {trouble}")?;
    }
    Ok(())
}

fn write_findings(text: &mut String, findings: &Findings) -> std::fmt::Result {
    writeln!(
        text,
        "{} changes ({} done, {} refused, {} unknown), {} events, {} arrivals over {} connections, {} pushes accepted.\n",
        findings.changes,
        findings.changes_done,
        findings.changes_refused,
        findings.changes_unknown,
        findings.events,
        findings.arrivals,
        findings.connections,
        findings.pushes_accepted,
    )?;
    let Counts { attempts, done, refused, unknown, messages, changes, removals, told, joined } =
        findings.rooms;
    writeln!(
        text,
        "Rooms: {attempts} wishes ({done} done, {refused} refused, {unknown} unknown), {messages} messages, {changes} changes and {removals} removals, told {told} times on {joined} subscriptions.\n"
    )?;
    writeln!(text, "| must never happen | found |\n|---|---|")?;
    for invariant in Invariant::ALL {
        writeln!(text, "| {} | {} |", format!("{invariant:?}").to_lowercase(), findings.count(invariant))?;
    }
    writeln!(
        text,
        "\nRaw duplicates that clients dropped: {}. Pushes although a device had the event two seconds before: {}.\n",
        findings.raw_duplicates, findings.false_pushes
    )?;
    for (invariant, violations) in &findings.violations {
        for violation in violations.iter().take(VIOLATIONS_SHOWN) {
            writeln!(text, "* {invariant:?}: {violation}")?;
        }
    }
    writeln!(text)
}

fn write_bearings(text: &mut String, report: &Report) -> std::fmt::Result {
    let Delays { events, p50_ms, p99_ms, max_ms } = report.healthy;
    writeln!(
        text,
        "Before anything was broken, from commit to socket: p50 {p50_ms} ms, p99 {p99_ms} ms, max {max_ms} ms ({events} events).\n"
    )?;
    let Delays { events, p50_ms, p99_ms, max_ms } = report.healthy_rooms;
    writeln!(
        text,
        "In rooms, from being written to each socket: p50 {p50_ms} ms, p99 {p99_ms} ms, max {max_ms} ms ({events} times).\n"
    )?;
    writeln!(
        text,
        "Goals are multiplied by {}. *During*: from the commit until shown or pushed, of what was committed meanwhile. *Recovery*: from the healing until the last late event was shown or pushed. *Rooms*: until the last late message was told to all who are there. *Requests*: how long after the healing the last one failed.\n",
        report.patience
    )?;
    writeln!(
        text,
        "| fault | lasted | events | during p50 | p99 | max | goal | recovery | goal | rooms | goal | requests | |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|---|---|---|---|")?;
    for bearing in &report.bearings {
        let Bearing { strike, during, recovery, .. } = bearing;
        let names: Vec<String> = strike.faults.iter().copied().map(Fault::name).collect();
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            names.join(" + "),
            seconds(strike.healed_at - strike.struck_at),
            during.events,
            seconds(during.p50_ms),
            seconds(during.p99_ms),
            seconds(during.max_ms),
            bearing.goal_during_ms.map_or("–".to_owned(), seconds),
            seconds(recovery.max_ms),
            seconds(bearing.goal_after_ms),
            seconds(bearing.rooms.max_ms),
            seconds(bearing.goal_rooms_ms),
            seconds(bearing.requests_failed_ms),
            if bearing.within_goals { "" } else { "**missed**" },
        )?;
    }
    writeln!(text)
}

fn write_growth(text: &mut String, growth: &Growth) -> std::fmt::Result {
    let Growth { before, after, grown } = growth;
    writeln!(text, "| all nodes together | before | after |\n|---|---|---|")?;
    writeln!(text, "| sockets | {} | {} |", before.connections, after.connections)?;
    writeln!(text, "| memory (RSS) | {} MiB | {} MiB |", before.memory_kib / 1024, after.memory_kib / 1024)?;
    writeln!(
        text,
        "| descriptors besides sockets and the pool | {} | {} |",
        before.descriptors, after.descriptors
    )?;
    writeln!(text, "| tasks besides sockets | {} | {} |", before.tasks, after.tasks)?;
    if grown.is_empty() { writeln!(text) } else { writeln!(text, "\nGrown: {}.", grown.join(", ")) }
}

#[expect(clippy::cast_precision_loss, reason = "printed with two digits")]
fn seconds(ms: i64) -> String {
    format!("{:.2} s", ms as f64 / 1_000.0)
}
