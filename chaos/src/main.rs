//! Breaks a whole Fanlight cluster on purpose, and checks that the promise held.
//!
//! People change their lights, clients follow them over a bad network, a nemesis breaks one part after the other, and
//! in the end what everybody saw is compared with what Postgres and the push service hold. The seed decides who does
//! what, and which fault comes when. Exits 1 when the promise was broken.
//!
//! [`run`] is the whole of it: [`arena`] (the cluster, with a [`proxy`] on every way), [`users`], [`generator`],
//! [`client`], [`rooms`], [`nemesis`] and its [`faults`] and [`injuries`]; then [`checker`] and [`promptness`] judge [`history`] against [`truth`].

#![expect(clippy::print_stdout, reason = "this is a command that talks to a person")]

use std::process::ExitCode;

use clap::Parser as _;
use fanlight::serve::be_a_node_or;

use crate::options::Options;

mod arena;
mod checker;
mod client;
mod faults;
mod generator;
mod growth;
mod history;
mod injuries;
mod memory;
mod moods;
mod nemesis;
mod options;
mod promptness;
mod proxy;
mod report;
mod rooms;
mod run;
#[cfg(feature = "seeded-bugs")]
mod self_test;
mod truth;
mod users;

/// That of the product: its nodes are this program too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    be_a_node_or("chaos", async || run_once(&Options::parse()).await).await
}

async fn run_once(options: &Options) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "seeded-bugs")]
    if options.self_test {
        return self_test::run(options).await;
    }
    let report = run::run(options).await?;
    println!("{}", report::markdown(&report));
    println!("More in {}", report::folder(options).display());
    Ok(if report.is_green() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
