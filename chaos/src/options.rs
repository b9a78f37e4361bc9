//! What a run is told.

use std::path::PathBuf;

use clap::Parser;

use crate::faults::Fault;

pub const ROOMS: usize = 3;
pub const ROOM_RATE: f64 = 12.0;

/// Breaks a whole Fanlight cluster on purpose, and checks that the promise held.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Options {
    /// How long things are broken.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    pub minutes: f64,
    /// Decides who does what, and which fault comes when.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// How many people; couples, so an even number.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub users: usize,
    /// Changes per second, of all people together.
    #[arg(long, value_name = "R", default_value_t = 50.0)]
    pub rate: f64,
    /// How many rooms, of six to ten of these people each.
    #[arg(long, value_name = "N", default_value_t = ROOMS)]
    pub rooms: usize,
    /// What people do in rooms per second, all together: write, edit, delete, react.
    #[arg(long, value_name = "R", default_value_t = ROOM_RATE)]
    pub room_rate: f64,
    /// Only these, by name, separated by commas; all if not given.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub faults: Vec<Fault>,
    /// One fault at a time only.
    #[arg(long)]
    pub no_pairs: bool,
    /// By how much a busy machine may miss the promptness goals; what must never happen must never happen.
    #[arg(long, value_name = "FACTOR", default_value_t = 1)]
    pub patience: u32,
    /// How many seconds nothing is broken at first; what is measured then is the baseline.
    #[arg(long, value_name = "SECONDS", default_value_t = 8)]
    pub warm_up: u64,
    /// By how much every word between a node and Postgres is late, all the time.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub postgres_delay_ms: u64,
    /// How many seconds after the healing everything that can be settled must be.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub settled_within: u64,
    /// Where the report goes, and on failure the history and the logs.
    #[arg(long, value_name = "DIR", default_value = "target/chaos")]
    pub out: PathBuf,
    /// Makes the nodes make a mistake that the checker has to find.
    #[cfg(feature = "seeded-bugs")]
    #[arg(long, value_name = "NAME")]
    pub seeded_bug: Option<String>,
    /// Runs briefly with each of the seeded bugs, and without; succeeds if the checker tells them apart.
    #[cfg(feature = "seeded-bugs")]
    #[arg(long)]
    pub self_test: bool,
}

impl Options {
    pub fn faults(&self) -> Vec<Fault> {
        if self.faults.is_empty() { Fault::all() } else { self.faults.clone() }
    }

    pub fn bug(&self) -> Option<String> {
        #[cfg(feature = "seeded-bugs")]
        return self.seeded_bug.clone();
        #[cfg(not(feature = "seeded-bugs"))]
        None
    }
}
