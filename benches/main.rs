//! What Fanlight costs, beside what it must at least cost, measured in the same run on the same machine.
//!
//! `cargo bench` measures the table of `docs/performance.md` and prints it at the end; `cargo bench -- PART…` only
//! some of it, and parts that are not in the table. Nothing here fails because of a time. Each part starts a private
//! cluster, which leaves nothing behind; floors are the small programs in `floors`.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use clap::{Parser, ValueEnum};

mod connects;
mod crowd;
mod deliveries;
mod floors;
mod idle;
mod processes;
mod profile;
mod rooms;
mod stalled_readers;
mod statistics;
mod status_path;
mod stores;
mod storm;
mod table;
mod wire;

use table::Section;

/// The allocator of the product, for the servers it is compared with.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Parser)]
struct Arguments {
    /// What to measure; if nothing is named, all that is in the table.
    parts: Vec<Part>,
    /// Tiny and short, to see that it runs: the numbers mean nothing.
    #[arg(long)]
    quick: bool,
    /// What `cargo bench` tells every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// `PATCH /status` until the partner's frame on another node, and what it costs the stores.
    StatusPath,
    /// Memory, CPU and Redis commands per idle connection.
    Idle,
    /// Deliveries per second and core, fed by Redis.
    Deliveries,
    /// Connects per second and core.
    Connects,
    /// 10,000 clients, and one of three nodes killed.
    Storm,
    /// A message to a room of 10,000, what it costs the stores, and how many can be written.
    Rooms,
    /// What 1,000 clients that do not read cost the others. Not in the table; nine minutes.
    StalledReaders,
    /// The system calls of a status change, by strace. Not in the table.
    Syscalls,
    /// The instructions of a status change by function, by callgrind. Not in the table.
    Instructions,
}

const IN_TABLE: [Part; 6] =
    [Part::StatusPath, Part::Idle, Part::Deliveries, Part::Connects, Part::Storm, Part::Rooms];

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    Full,
    Quick,
}

impl Size {
    fn of<T>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if let Some(role) = floors::role() {
        return floors::serve(role).await;
    }
    if rooms::is_audience() {
        return rooms::sit().await;
    }
    let arguments = Arguments::parse();
    let size = if arguments.quick { Size::Quick } else { Size::Full };
    let parts = if arguments.parts.is_empty() { &IN_TABLE[..] } else { &arguments.parts };
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mut sections = Vec::new();
    for part in parts {
        println!(
            "\n== {}\n",
            part.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
        );
        sections.extend(Box::pin(measure(*part, size)).await?);
    }
    if !sections.is_empty() {
        table::print(&sections);
    }
    if size == Size::Quick {
        println!("\nA quick run: the numbers mean nothing.");
    }
    Ok(())
}

async fn measure(part: Part, size: Size) -> anyhow::Result<Vec<Section>> {
    match part {
        Part::StatusPath => return status_path::measure(size).await,
        Part::Idle => return idle::measure(size).await,
        Part::Deliveries => return Ok(vec![deliveries::measure(size).await?]),
        Part::Connects => return Ok(vec![connects::measure(size).await?]),
        Part::Storm => return storm::measure(size).await,
        Part::Rooms => return rooms::measure(size).await,
        Part::StalledReaders => stalled_readers::measure(size).await?,
        Part::Syscalls => profile::syscalls(size).await?,
        Part::Instructions => profile::instructions(size).await?,
    }
    Ok(Vec::new())
}
