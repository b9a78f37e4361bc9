//! What the stores do for one message, in rooms of different sizes whose subscribers are on two nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fanlight::dev::cluster::Cluster;
use fanlight::dev::people;
use sqlx::PgPool;
use tokio::time::{Instant, sleep_until};

use super::audience::Audience;
use super::{Hall, Room, tokens};
use crate::Size;
use crate::statistics::{count, short};
use crate::stores::{self, ROUND_TRIPS, STATEMENTS, Work};
use crate::table::{Goal, Row, Section};
use crate::wire::{TOKEN_TTL, address};

/// How long each message is watched, and as long nothing: most are heard by then.
const WATCHED: Duration = Duration::from_millis(300);
/// What is rarer than one in so many messages has nothing to do with them.
const RARE: f64 = 0.2;
const COMMANDS: &str = "Redis commands, those within scripts included";
const REDIS: &str = "µs of CPU, Redis";
const POSTGRES: &str = "µs of CPU, Postgres";

/// A room, with how many of the first on either node are in it.
struct Scene {
    room: Room,
    listeners: [usize; 2],
}

pub async fn measure(
    cluster: &Cluster,
    pool: &PgPool,
    mut hall: Hall,
    size: Size,
) -> anyhow::Result<Section> {
    let guests = people::people(cluster, pool, size.of(500, 10), TOKEN_TTL).await?;
    let mut there = Audience::start().await?;
    there.come(address(&cluster.nodes[1].http())?, tokens(&guests)).await?;
    // As many as come on the other node make room for them.
    let stay = hall.people.len() - guests.len();
    hall.audience.ask(stay..hall.people.len(), hall.room.unsubscribe()).await?;
    people::take_in(pool, hall.room.id, &guests).await?;
    there.ask(0..guests.len(), hall.room.subscribe()).await?;

    let mut scenes = Vec::new();
    for each in [size.of(5, 2), size.of(500, 5)] {
        let room = Room::of(pool, &[&hall.people[..each], &guests[..each]].concat()).await?;
        hall.audience.ask(0..each, room.subscribe()).await?;
        there.ask(0..each, room.subscribe()).await?;
        scenes.push(Scene { room, listeners: [each; 2] });
    }
    scenes.push(Scene { room: hall.room, listeners: [stay, guests.len()] });

    stores::track_statements(pool).await?;
    let messages = size.of(15, 3);
    let (mut idle, mut busy) = (Watched::default(), vec![Watched::default(); scenes.len()]);
    for _ in 0..messages {
        idle.watch(cluster, pool, async || Ok(())).await?;
        for (Scene { room, listeners: [here, elsewhere] }, busy) in scenes.iter().zip(&mut busy) {
            let request = room.message(hall.server);
            let said = async || {
                tokio::try_join!(there.overhear(0..*elsewhere), hall.audience.hear(0..*here, &request))
                    .map(drop)
            };
            busy.watch(cluster, pool, said).await?;
        }
    }
    let costs: Vec<Costs> = busy.iter().map(|busy| busy.beyond(&idle)).collect();
    let sizes: Vec<usize> = scenes.iter().map(|scene| scene.listeners.iter().sum()).collect();
    report(&sizes, &costs);
    Ok(section(&sizes, &costs, messages))
}

/// What was done, by name.
type Costs = BTreeMap<String, f64>;

/// All that was done while things of one kind were watched.
#[derive(Clone, Default)]
struct Watched {
    things: usize,
    time: Duration,
    costs: Costs,
}

impl Watched {
    async fn watch(
        &mut self,
        cluster: &Cluster,
        pool: &PgPool,
        thing: impl AsyncFnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (begun, before) = (Instant::now(), work(cluster, pool).await?);
        thing().await?;
        sleep_until(begun + WATCHED).await;
        for (name, done) in work(cluster, pool).await?.since(&before) {
            *self.costs.entry(name).or_default() += done;
        }
        self.things += 1;
        self.time += begun.elapsed();
        Ok(())
    }

    /// What each took, beyond what was done in the same time when nothing was said.
    fn beyond(&self, idle: &Self) -> Costs {
        let share = self.time.as_secs_f64() / idle.time.as_secs_f64();
        let each = |(name, done): (&String, &f64)| {
            (name.clone(), (done - of(&idle.costs, name) * share) / count(self.things))
        };
        let mut costs: Costs = self.costs.iter().map(each).collect();
        let is_command = |name: &str| name.starts_with("Redis ") && name != ROUND_TRIPS;
        let commands = costs.iter().filter(|(name, times)| is_command(name) && **times > RARE);
        let commands = commands.map(|(_, times)| times).sum();
        costs.insert(COMMANDS.to_owned(), commands);
        costs
    }
}

async fn work(cluster: &Cluster, pool: &PgPool) -> anyhow::Result<Work> {
    let mut work = Work::now(cluster, pool).await?;
    for (name, process) in [(REDIS, &cluster.redis.process), (POSTGRES, &cluster.postgres.process)] {
        work.add_cpu(name, process.pid())?;
    }
    Ok(work)
}

fn report(sizes: &[usize], costs: &[Costs]) {
    println!("\nPer message in a room, beyond the idle cluster's own work:\n");
    let line =
        |cells: Vec<String>| cells.into_iter().map(|cell| format!("{cell:>10}")).collect::<Vec<_>>().concat();
    println!("{}  subscribers", line(sizes.iter().map(usize::to_string).collect()));
    let names: BTreeSet<&String> = costs.iter().flat_map(Costs::keys).collect();
    for name in names.into_iter().filter(|name| costs.iter().any(|costs| of(costs, name) > RARE)) {
        println!("{}  {name}", line(costs.iter().map(|costs| short(of(costs, name))).collect()));
    }
}

fn of(costs: &Costs, name: &str) -> f64 {
    costs.get(name).copied().unwrap_or(0.0)
}

/// The largest room beside the smallest.
fn section(sizes: &[usize], costs: &[Costs], messages: usize) -> Section {
    let (smallest, largest) = (&costs[0], &costs[costs.len() - 1]);
    let (few, many) = (sizes[0], sizes[sizes.len() - 1]);
    let row = |metric: &str, name: &str, goal| Row {
        metric: format!("{metric} per message, room of {many} beside one of {few}"),
        floor: Some(of(smallest, name).into()),
        fanlight: Some(of(largest, name).into()),
        goal,
    };
    let rows = vec![
        row("Redis round trips", ROUND_TRIPS, Goal::TimesFloor(1.25)),
        row("Redis commands", COMMANDS, Goal::TimesFloor(1.25)),
        row("CPU of Redis, µs,", REDIS, Goal::None),
        row("Postgres statements", STATEMENTS, Goal::TimesFloor(1.25)),
    ];
    let method = format!(
        "Rooms of {sizes:?} subscribers on two nodes, in turns {messages} messages each by `POST /messages`; what the stores do within \
         {} ms of each, beyond what they do when nothing is said. In place of a floor stands the smallest room: a larger one \
         should ask no more of the stores.",
        WATCHED.as_millis()
    );
    Section { method, rows }
}
