//! How long a light takes from a phone to the partner's phone on another node, and what it costs the stores.
//!
//! Beside it, in turns, its floors on the same Postgres and Redis: the bare `UPDATE`, `PUBLISH` and send in one process,
//! and the same with the requests and processes between them. The load is open: changes are due at fixed times whatever
//! became of the ones before, and each one's time counts from when it was due.

use std::time::Duration;

use fanlight::dev::cluster::{Cluster, ClusterOptions};
use fanlight::dev::state::StateDir;
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::Size;
use crate::floors::change::{Floor, Writes};
use crate::stores;
use crate::table::{Goal, Row, Section};
use crate::wire::address;

mod costs;
mod path;

use costs::{Costs, Processes};
pub use path::Path;

/// As many as a node has connections to Postgres.
pub const COUPLES: usize = 20;
/// Loads, as shares of what Fanlight takes at most.
const SHARES: [f64; 2] = [0.1, 0.5];
/// The paths, by their place.
const BARE: usize = 0;
const HOPS: usize = 1;
const PROMISE: usize = 2;
const FANLIGHT: usize = 3;

pub async fn measure(size: Size) -> anyhow::Result<Vec<Section>> {
    let length = size.of(Duration::from_secs(2), Duration::from_millis(300));
    // The stores as in production: every commit reaches the disk.
    let state = StateDir::scratch()?;
    stores::let_postgres_count(&state).await?;
    let binary = env!("CARGO_BIN_EXE_fanlight");
    let cluster =
        Cluster::start(ClusterOptions { state: Some(state), ..ClusterOptions::scratch(binary) }).await?;
    let pool = PgPool::connect(&cluster.postgres_url()).await?;
    let floor = Floor::start(&cluster, &pool).await?;
    let mut tasks = JoinSet::new();
    let nodes = [address(&cluster.nodes[0].http())?, address(&cluster.nodes[1].http())?];
    let proxy = address(&cluster.url())?;
    let mut paths = [
        Path::over_floor("floor", &floor, false, Writes::Row, &mut tasks).await?,
        Path::over_floor("floor with the same hops", &floor, true, Writes::Row, &mut tasks).await?,
        Path::over_floor("and with our statement", &floor, true, Writes::Promise, &mut tasks).await?,
        Path::over_cluster("Fanlight", nodes, &cluster, &pool, &mut tasks).await?,
        Path::over_cluster("Fanlight through HAProxy", [proxy, proxy], &cluster, &pool, &mut tasks).await?,
    ];

    // Once for the caches, once for the number.
    for path in &paths {
        path.closed_loop(length).await?;
    }
    let (floor_rate, rate) =
        (paths[HOPS].closed_loop(length).await?, paths[FANLIGHT].closed_loop(length).await?);
    println!(
        "Changes per second with {COUPLES} at once: {floor_rate:.0} the floor with its hops, {rate:.0} Fanlight."
    );
    let mut rows = Vec::new();
    for share in SHARES {
        for _ in 0..size.of(7, 1) {
            for path in &mut paths {
                let round = path.round(rate * share, length).await?;
                path.rounds.push(round);
            }
        }
        println!("\nAt {:.0} changes per second:\n", rate * share);
        report(&paths);
        rows.extend(latencies(&paths, share));
        for path in &mut paths {
            path.rounds.clear();
        }
    }
    let latency = Section { method: method(size), rows };
    let least = Processes { caller: floor.publisher.process.pid(), partner: floor.subscriber.process.pid() };
    let [caller, partner] = [0, 1].map(|node: usize| cluster.nodes[node].process.pid());
    let costs = Costs { cluster: &cluster, pool: &pool, rate: rate * SHARES[1], length };
    let costs =
        costs.measure((&paths[HOPS], least), (&paths[FANLIGHT], Processes { caller, partner })).await?;
    drop(tasks);
    drop(floor);
    cluster.stop().await;
    Ok(vec![latency, costs])
}

fn method(size: Size) -> String {
    format!(
        "{COUPLES} couples; each caller's socket and requests are on one node, its partner's socket on another. Changes are due \
         at fixed times, {} % and {} % of the highest rate at which Fanlight took them; times count from then. Floor: one \
         process does `UPDATE` (committed), `PUBLISH`, and sends a frame of the same size; with its hops: a TCP request to \
         one process, the socket on another; with our statement: instead of its `UPDATE`, what a status change writes, in a \
         database where nobody else works. In turns, {} rounds; medians (quartiles). Postgres is durable.",
        SHARES[0] * 100.0,
        SHARES[1] * 100.0,
        size.of(7, 1)
    )
}

/// What is aimed at is said of half load, beside the bare floor.
fn latencies(paths: &[Path], share: f64) -> Vec<Row> {
    let at_half = (share - 0.5).abs() < f64::EPSILON;
    let load = if at_half { "half load" } else { "a tenth of the load" };
    let mut rows = Vec::new();
    for (name, percentile, times) in [("p50", 0.5, 1.25), ("p99", 0.99, 1.5)] {
        let arrived = |path: &Path| Some(path.percentile(percentile, |round| &round.arrived));
        let goal = if at_half { Goal::TimesFloor(times) } else { Goal::None };
        let floors = [
            (BARE, "", goal),
            (HOPS, ", floor with its hops", Goal::None),
            (PROMISE, ", floor with its hops and our statement", Goal::None),
        ];
        for (floor, beside, goal) in floors {
            rows.push(Row {
                metric: format!("`PATCH /status` → partner's frame, {name} at {load}{beside}, ms"),
                floor: arrived(&paths[floor]),
                fanlight: arrived(&paths[FANLIGHT]),
                goal,
            });
        }
    }
    rows
}

fn report(paths: &[Path]) {
    println!("{:<26}{:>22}{:>22}{:>22}{:>22}", "", "p50 ms", "p99 ms", "answer p50 ms", "answer p99 ms");
    for path in paths {
        print!("{:<26}", path.name);
        for share in [0.5, 0.99] {
            print!("{:>22}", path.percentile(share, |round| &round.arrived).to_string());
        }
        for share in [0.5, 0.99] {
            print!("{:>22}", path.percentile(share, |round| &round.answered).to_string());
        }
        println!();
    }
}
