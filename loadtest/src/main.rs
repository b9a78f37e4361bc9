//! Couples, rooms, storms and an ordinary day on a Fanlight cluster, and whether anything was lost.
//!
//! Goose runs the users and reports the times; what must never happen is counted here, per phone, by `id` and `seq`,
//! until everything is settled. Exits 1 when something did, or took longer than it may. `README.md` says how to run
//! and read it.
//!
//! [`run`] is the whole of it: a [`stage`], people from the [`roster`], the [`scenarios`] of couples whose [`phone`]s
//! follow their [`schedule`], and of rooms that [`chat`]; then the [`drain`], and the [`verdict`] on [`ledger`] and [`tally`].

#![expect(clippy::print_stdout, reason = "this is a command that talks to a person")]

use std::process::ExitCode;

use clap::Parser as _;
use fanlight::serve::be_a_node_or;

use crate::options::Options;

mod chat;
mod couple;
mod drain;
mod frame;
mod handshake;
mod inbox;
mod ledger;
mod machine;
mod options;
mod phone;
mod report;
mod rolling;
mod roster;
mod run;
mod scenarios;
mod schedule;
mod sight;
mod stage;
mod tally;
mod truth;
mod verdict;
mod world;

/// That of the product: its nodes are this program too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    be_a_node_or("loadtest", async || run_once(&Options::parse()).await).await
}

async fn run_once(options: &Options) -> anyhow::Result<ExitCode> {
    options.check()?;
    let report = Box::pin(run::run(options)).await?;
    let text = report::text(&report);
    println!("\n{text}");
    report::write(options, &text)?;
    Ok(if report.verdict.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
