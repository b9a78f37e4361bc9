//! One run: a cluster, its people, the storm, the healing, the judgement.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::ensure;
use fanlight::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::arena::Arena;
use crate::checker::{self, Evidence, Party};
use crate::client::{Client, Phase, World};
use crate::faults;
use crate::generator::Generator;
use crate::growth::{self, Growth};
use crate::history::{Millis, Recorder, now};
use crate::nemesis::{self, Plan, Strike};
use crate::options::Options;
use crate::promptness;
use crate::report::{self, Report};
use crate::truth;
use crate::users::User;

/// Before anything is broken: what is measured then is the baseline.
const WARM_UP: Duration = Duration::from_secs(8);
/// How long after the healing everything that can be settled must be.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);
/// jemalloc gives back what it does not need after ten seconds.
const MEMORY_GIVEN_BACK: Duration = Duration::from_secs(11);

/// Runs, and leaves the report in `options.out`.
///
/// # Errors
/// When the cluster does not start, or something cannot be broken or healed: then nothing is known.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    ensure!(options.users >= 2 && options.users.is_multiple_of(2), "--users must be even, and at least 2");
    ensure!(options.rate > 0.0 && options.minutes > 0.0, "--rate and --minutes must be more than 0");
    let mut rng = fastrand::Rng::with_seed(options.seed);
    let mut arena = Arena::start(options.bug()).await?;
    faults::ordinary_fcm(&arena);
    let users = Arc::new(arena.people(options.users, &mut rng).await?);
    let result = weather_the_storm(options, &mut arena, &users, rng).await;
    let report = match result {
        Ok((report, records)) => {
            report::write(options, &report, &records, arena.cluster.state.path())?;
            Ok(report)
        }
        Err(error) => Err(error),
    };
    arena.stop().await;
    report
}

type Outcome = (Report, Vec<crate::history::Record>);

async fn weather_the_storm(
    options: &Options,
    arena: &mut Arena,
    users: &Arc<Vec<User>>,
    mut rng: fastrand::Rng,
) -> anyhow::Result<Outcome> {
    let storm = WARM_UP + Duration::from_secs_f64(options.minutes * 60.0);
    let end = Instant::now() + storm;
    let began_at = now();
    let world = Arc::new(World {
        doors: arena.doors.iter().map(crate::proxy::Proxy::address).collect(),
        recorder: Recorder::default(),
        connections: AtomicU64::new(0),
        phase: watch::Sender::new(Phase::Storm),
    });
    let clients = Shutdown::new();
    for user in users.iter() {
        let client = Client::new(&world, user.clone(), rng.fork(), storm);
        clients.spawn("client", client.run());
    }
    let (world_, users_, changes_per_second) = (Arc::clone(&world), Arc::clone(users), options.rate);
    let generator = Generator { world: world_, users: users_, rng: rng.fork(), changes_per_second };
    let mut plan = Plan::new(rng.fork(), options.faults(), !options.no_pairs);
    let breaking = async {
        sleep(WARM_UP).await;
        let (before, struck_from) = (growth::holdings(arena).await?, now());
        let strikes = nemesis::rage(arena, &mut plan, &mut rng, end).await?;
        anyhow::Ok((before, struck_from, strikes))
    };
    let ((before, struck_from, strikes), ()) = tokio::try_join!(breaking, generator.run(storm))?;

    world.phase.send_replace(Phase::Calm);
    let parties: Vec<Party> = users.iter().map(Party::from).collect();
    let attached: Vec<Uuid> =
        users.iter().filter(|user| parties[user.index].is_attached()).map(|user| user.person.id.0).collect();
    let overdue_after_healing = until_settled(arena, false, &attached).await?;
    let recalled_at = now();
    world.phase.send_replace(Phase::Recall);
    until_settled(arena, true, &attached).await?;
    let after = after_the_storm(arena).await?;
    let growth = growth::compare(before, after);
    world.phase.send_replace(Phase::Over);
    clients.finished(SETTLED_WITHIN).await;

    let records = world.recorder.records();
    let evidence = Evidence {
        parties: &parties,
        records: &records,
        rows: &truth::rows(&arena.pool, users).await?,
        pushes: &truth::pushes(arena.cluster.fcm.log(), users)?,
        recalled_at,
        overdue_after_healing,
    };
    Ok((report(options, &evidence, &strikes, growth, [began_at, struck_from]), records))
}

fn report(
    options: &Options,
    evidence: &Evidence<'_>,
    strikes: &[Strike],
    growth: Growth,
    [began_at, struck_from]: [Millis; 2],
) -> Report {
    Report {
        seed: options.seed,
        minutes: options.minutes,
        users: options.users,
        rate: options.rate,
        patience: options.patience,
        seeded_bug: options.bug(),
        command: report::command(options),
        healthy: promptness::healthy(evidence, began_at, struck_from),
        findings: checker::judge(evidence),
        bearings: promptness::bearings(evidence, strikes, options.patience),
        growth,
    }
}

/// Waits until nothing is pending, as long as may be. Returns how much still is.
async fn until_settled(arena: &Arena, everybody: bool, attached: &[Uuid]) -> anyhow::Result<i64> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        let pending = truth::pending(&arena.pool, everybody, attached).await?;
        if pending == 0 || Instant::now() >= deadline {
            return Ok(pending);
        }
        sleep(POLL).await;
    }
}

/// What the nodes hold when they have had the time to give back what they do not need.
async fn after_the_storm(arena: &Arena) -> anyhow::Result<growth::Holdings> {
    sleep(MEMORY_GIVEN_BACK).await;
    growth::holdings(arena).await
}
