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
    fault: Fault,
    postgres_delay_ms: u64,
    found_as: &'static [Invariant],
}

/// In a short run a mistake may find no occasion: then others are tried.
const SEEDS_MAX: usize = 5;

const CASES: [Case; 6] = [
    Case {
        bug: "drop_messages=20",
        fault: Fault::RedisDropsSubscribers,
        postgres_delay_ms: 0,
        found_as: &[Invariant::Lost, Invariant::Disorder],
    },
    Case {
        bug: "settle_before_write",
        fault: Fault::Clients(Wire::HalfOpen),
        postgres_delay_ms: 0,
        found_as: &[Invariant::Unearned, Invariant::Lost],
    },
    Case {
        bug: "poll_by_id",
        fault: Fault::Clients(Wire::HalfOpen),
        postgres_delay_ms: 0,
        found_as: &[Invariant::Overdue, Invariant::Lost],
    },
    Case {
        bug: "repeat_at_seam",
        fault: Fault::Clients(Wire::Reset),
        // A slow replay is a wide seam.
        postgres_delay_ms: 100,
        found_as: &[Invariant::Duplicate, Invariant::Disorder],
    },
    Case {
        bug: "drop_room_messages=20",
        fault: Fault::RedisDropsSubscribers,
        postgres_delay_ms: 0,
        found_as: &[Invariant::Lost, Invariant::Disorder],
    },
    Case {
        bug: "keep_the_removed",
        fault: Fault::Clients(Wire::Reset),
        postgres_delay_ms: 0,
        found_as: &[Invariant::Leak],
    },
];

/// Runs all of them, and then without a bug over all their faults.
pub async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut told_apart = true;
    for case in &CASES {
        let mut found = false;
        for seed in (options.seed..).take(SEEDS_MAX) {
            let report = run::run(&Options { seed, ..with(options, case) }).await?;
            found = case.found_as.iter().any(|invariant| report.findings.count(*invariant) > 0);
            tell(case.bug, &report, if found { "red, as it must be" } else { "NOT FOUND" });
            if found {
                break;
            }
        }
        told_apart &= found;
    }
    let faults = CASES.iter().map(|case| case.fault).collect();
    let report = run::run(&Options { faults, no_pairs: true, ..options.clone() }).await?;
    told_apart &= report.is_green();
    tell("no bug", &report, if report.is_green() { "green" } else { "RED" });
    if !report.is_green() {
        println!("{}", report::markdown(&report));
    }
    Ok(if told_apart { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn with(options: &Options, case: &Case) -> Options {
    Options {
        faults: vec![case.fault],
        no_pairs: true,
        seeded_bug: Some(case.bug.to_owned()),
        postgres_delay_ms: case.postgres_delay_ms,
        ..options.clone()
    }
}

fn tell(bug: &str, report: &Report, verdict: &str) {
    let found: Vec<String> = Invariant::ALL
        .into_iter()
        .filter(|invariant| report.findings.count(*invariant) > 0)
        .map(|invariant| format!("{invariant:?} {}", report.findings.count(invariant)))
        .collect();
    println!("{bug:<22} {verdict:<20} {}", found.join(", "));
}
