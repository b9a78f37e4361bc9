//! Shows that the checker finds what is wrong, and nothing where nothing is.

#![expect(clippy::print_stdout, reason = "this is a command that talks to a person")]

use std::process::ExitCode;

use crate::checker::Invariant;
use crate::faults::{Fault, Wire};
use crate::options::Options;
use crate::report::{self, Report};
use crate::run;

/// A mistake, what brings it to light, and what it has to be found as (one of these is enough).
struct Case {
    bug: &'static str,
    faults: &'static [Fault],
    found_as: &'static [Invariant],
}

const CASES: [Case; 4] = [
    Case {
        bug: "drop_messages=20",
        faults: &[Fault::RedisDropsSubscribers],
        found_as: &[Invariant::Lost, Invariant::Disorder],
    },
    Case {
        bug: "settle_before_write",
        faults: &[Fault::Clients(Wire::HalfOpen), Fault::Clients(Wire::Stalled)],
        found_as: &[Invariant::Unearned, Invariant::Lost],
    },
    Case {
        bug: "poll_by_id",
        faults: &[Fault::FcmUnavailable, Fault::FcmHangs],
        found_as: &[Invariant::Overdue, Invariant::Lost],
    },
    Case {
        bug: "repeat_at_seam",
        // A slow replay is a wide seam.
        faults: &[Fault::Postgres(Wire::Slow), Fault::Clients(Wire::Reset)],
        found_as: &[Invariant::Duplicate, Invariant::Disorder],
    },
];

/// Runs all of them, and then without a bug over all their faults.
pub async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut told_apart = true;
    for case in &CASES {
        let report = run::run(&with(options, case.faults, Some(case.bug))).await?;
        let found = case.found_as.iter().any(|invariant| report.findings.count(*invariant) > 0);
        told_apart &= found;
        tell(case.bug, &report, if found { "red, as it must be" } else { "NOT FOUND" });
    }
    let faults: Vec<Fault> = CASES.iter().flat_map(|case| case.faults).copied().collect();
    let clean = with(options, &faults, None);
    let report = run::run(&clean).await?;
    told_apart &= report.is_green();
    tell("no bug", &report, if report.is_green() { "green" } else { "RED" });
    if !report.is_green() {
        println!("{}", report::markdown(&report));
    }
    Ok(if told_apart { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn with(options: &Options, faults: &[Fault], bug: Option<&str>) -> Options {
    let seeded_bug = bug.map(str::to_owned);
    Options { faults: faults.to_vec(), no_pairs: true, seeded_bug, ..options.clone() }
}

fn tell(bug: &str, report: &Report, verdict: &str) {
    let found: Vec<String> = Invariant::ALL
        .into_iter()
        .filter(|invariant| report.findings.count(*invariant) > 0)
        .map(|invariant| format!("{invariant:?} {}", report.findings.count(invariant)))
        .collect();
    println!("{bug:<22} {verdict:<20} {}", found.join(", "));
}
