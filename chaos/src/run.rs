//! One run: a cluster, its people, the storm, the healing, the judgement.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::ensure;
use fanlight::shutdown::Shutdown;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::arena::Arena;
use crate::checker::{self, Evidence, Party};
use crate::client::{Client, Phase, World};
use crate::generator::Generator;
use crate::growth::{self, Growth};
use crate::history::{Millis, Record, Recorder, now};
use crate::injuries;
use crate::nemesis::{self, Plan, Rage};
use crate::options::Options;
use crate::promptness;
use crate::report::{self, Report};
use crate::rooms::follower::Follower;
use crate::rooms::porter::Porter;
use crate::rooms::writers::Writers;
use crate::rooms::{self, Progress, Room};
use crate::truth;
use crate::users::User;

const CLIENTS_END_WITHIN: Duration = Duration::from_secs(10);
/// To one socket; further ones are not written.
const LETTERS_MAX: usize = 16;
/// Rooms in which nothing happened for so long are at rest.
const ROOMS_REST: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(200);
/// jemalloc gives back what it does not need after ten seconds.
const MEMORY_GIVEN_BACK: Duration = Duration::from_secs(11);

/// Runs, and leaves the report in `options.out`.
///
/// # Errors
/// When the cluster does not start, or something cannot be broken or healed: then nothing is known.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    ensure!(options.users >= 2 && options.users.is_multiple_of(2), "--users must be even, and at least 2");
    let rates = [options.rate, options.room_rate, options.minutes];
    ensure!(rates.iter().all(|rate| *rate > 0.0), "--rate, --room-rate and --minutes must be more than 0");
    let mut rng = fastrand::Rng::with_seed(options.seed);
    let mut arena = Arena::start(options.bug(), Duration::from_millis(options.postgres_delay_ms)).await?;
    injuries::ordinary_fcm(&arena);
    let users = Arc::new(arena.people(options.users, &mut rng).await?);
    let rooms = Arc::new(arena.rooms(options.rooms, &users, &mut rng).await?);
    let result = weather_the_storm(options, &mut arena, &users, &rooms, rng).await;
    let state = arena.cluster.state.path();
    let report = match result {
        Ok((report, records)) => report::write(options, &report, &records, state).map(|()| report),
        Err(error) => Err(report::keep_logs(options, state).err().unwrap_or(error)),
    };
    arena.stop().await;
    report
}

type Outcome = (Report, Vec<Record>);

async fn weather_the_storm(
    options: &Options,
    arena: &mut Arena,
    users: &Arc<Vec<User>>,
    rooms: &Arc<Vec<Room>>,
    mut rng: fastrand::Rng,
) -> anyhow::Result<Outcome> {
    let warm_up = Duration::from_secs(options.warm_up);
    let storm = warm_up + Duration::from_secs_f64(options.minutes * 60.0);
    let end = Instant::now() + storm;
    let began_at = now();
    let world = Arc::new(World {
        doors: arena.doors.iter().map(crate::proxy::Proxy::address).collect(),
        recorder: Recorder::default(),
        connections: AtomicU64::new(0),
        phase: watch::Sender::new(Phase::Storm),
        users: Arc::clone(users),
        rooms: Arc::clone(rooms),
        progress: Progress::default(),
    });
    let clients = Shutdown::new();
    let mut letters = Vec::with_capacity(users.len());
    for user in users.iter() {
        let (to_socket, from_writers) = mpsc::channel(LETTERS_MAX);
        letters.push(to_socket);
        let follower = Follower::new(user.index, rooms, from_writers);
        let client = Client::new(&world, user.clone(), follower, rng.fork(), storm);
        clients.spawn("client", client.run());
    }
    let (one, other, third) = (Arc::clone(&world), Arc::clone(&world), Arc::clone(&world));
    let generator = Generator { world: one, rng: rng.fork(), changes_per_second: options.rate };
    let writers = Writers { world: other, letters, rng: rng.fork(), wishes_per_second: options.room_rate };
    let porter = Porter { world: third, rng: rng.fork() };
    let mut plan = Plan::new(rng.fork(), options.faults(), !options.no_pairs);
    let breaking = async {
        sleep(warm_up).await;
        let (before, struck_from) = (growth::holdings(arena).await?, now());
        let rage = nemesis::rage(arena, &mut plan, &mut rng, end).await?;
        anyhow::Ok((before, struck_from, rage))
    };
    let living = async { tokio::try_join!(generator.run(storm), writers.run(storm), porter.run(storm)) };
    let ((before, struck_from, rage), _) = tokio::try_join!(breaking, living)?;

    world.phase.send_replace(Phase::Calm);
    let parties: Vec<Party> = users.iter().map(Party::from).collect();
    let attached: Vec<Uuid> =
        users.iter().filter(|user| parties[user.index].is_attached()).map(|user| user.person.id.0).collect();
    let overdue_after_healing = until_settled(options, arena, false, &attached).await?;
    let recalled_at = now();
    world.phase.send_replace(Phase::Recall);
    until_settled(options, arena, true, &attached).await?;
    until_told(options, arena, &world).await?;
    // What a mistake leaves behind tells nothing.
    if options.bug().is_none() {
        sleep(MEMORY_GIVEN_BACK).await;
    }
    let after = growth::holdings(arena).await?;
    let growth = growth::compare(before, after);
    let unwell = growth::unwell(arena).await?;
    world.phase.send_replace(Phase::Over);
    clients.finished(CLIENTS_END_WITHIN).await;

    let records = world.recorder.records();
    let truths = rooms::truth::read(&arena.pool, rooms, users).await?;
    let evidence = Evidence {
        parties: &parties,
        records: &records,
        rows: &truth::rows(&arena.pool, users).await?,
        pushes: &truth::pushes(arena.cluster.fcm.log(), users)?,
        rooms: &rooms.iter().cloned().zip(truths).collect::<Vec<_>>(),
        recalled_at,
        overdue_after_healing,
    };
    Ok((report(options, &evidence, rage, (growth, unwell), [began_at, struck_from]), records))
}

fn report(
    options: &Options,
    evidence: &Evidence<'_>,
    rage: Rage,
    (growth, unwell): (Growth, Vec<String>),
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
        healthy_rooms: promptness::healthy_rooms(evidence, began_at, struck_from),
        findings: checker::judge(evidence),
        bearings: promptness::bearings(evidence, &rage.strikes, options.patience),
        growth,
        unwell,
        troubles: rage.troubles,
    }
}

/// Waits until nothing is pending, as long as may be. Returns how much still is.
async fn until_settled(
    options: &Options,
    arena: &Arena,
    everybody: bool,
    attached: &[Uuid],
) -> anyhow::Result<i64> {
    let deadline = Instant::now() + Duration::from_secs(options.settled_within);
    loop {
        let pending = truth::pending(&arena.pool, everybody, attached).await?;
        if pending == 0 || Instant::now() >= deadline {
            return Ok(pending);
        }
        sleep(POLL).await;
    }
}

/// Waits until all members have been told all that happened in their rooms, as long as may be: who has not is found later.
async fn until_told(options: &Options, arena: &Arena, world: &World) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(options.settled_within);
    let mut at_rest = (0, Instant::now());
    while Instant::now() < deadline {
        let (behind, heads) = rooms::truth::behind(&arena.pool, world).await?;
        if heads != at_rest.0 {
            at_rest = (heads, Instant::now());
        }
        if behind == 0 && at_rest.1.elapsed() >= ROOMS_REST {
            return Ok(());
        }
        sleep(POLL).await;
    }
    Ok(())
}
