//! What the stores do for one message, in rooms of different sizes whose subscribers are on two nodes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fanlight::dev::cluster::Cluster;
use fanlight::dev::people;
use sqlx::PgPool;
use tokio::time::{sleep, sleep_until};

use super::audience::{Audience, SEATED};
use super::{Hall, Room, tokens};
use crate::Size;
use crate::statistics::short;
use crate::stores::{self, ROUND_TRIPS, STATEMENTS, Work};
use crate::table::{Goal, Row, Section};
use crate::wire::{TOKEN_TTL, address};

/// Between two messages, in all rooms: so as much happens beside them.
const PACE: Duration = Duration::from_millis(250);
/// What is rarer than one in so many messages has nothing to do with them.
const RARE: f64 = 0.05;
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
    let now = async || {
        let mut work = Work::now(cluster, pool).await?;
        for (name, process) in [(REDIS, &cluster.redis.process), (POSTGRES, &cluster.postgres.process)] {
            work.add_cpu(name, process.pid())?;
        }
        anyhow::Ok(work)
    };
    let messages = size.of(20, 3);
    let mut measured = Vec::new();
    for Scene { room, listeners: [here, elsewhere] } in &scenes {
        let request = room.message(hall.server);
        let busy = async || {
            let begun = Instant::now();
            for message in 0..messages {
                sleep_until((begun + PACE * u32::try_from(message)?).into()).await;
                let hearing = async {
                    sleep(SEATED).await;
                    hall.audience.hear(0..*here, &request).await
                };
                tokio::try_join!(there.overhear(0..*elsewhere), hearing)?;
            }
            Ok(messages)
        };
        let mut each = Work::of_each(PACE * 8, now, busy).await?;
        let is_command = |name: &str| name.starts_with("Redis ") && name != ROUND_TRIPS;
        let commands = each.iter().filter(|(name, _)| is_command(name)).map(|(_, times)| times).sum();
        each.insert(COMMANDS.to_owned(), commands);
        measured.push(each);
    }
    let sizes: Vec<usize> = scenes.iter().map(|scene| scene.listeners.iter().sum()).collect();
    report(&sizes, &measured);
    Ok(section(&sizes, &measured))
}

fn report(sizes: &[usize], measured: &[BTreeMap<String, f64>]) {
    println!("\nPer message in a room, beyond the idle cluster's own work:\n");
    let line = |cells: Vec<String>| cells.iter().map(|cell| format!("{cell:>10}")).collect::<String>();
    println!("{}  subscribers", line(sizes.iter().map(usize::to_string).collect()));
    let is_worth_a_line = |name: &&String| measured.iter().any(|each| of(each, name) > RARE);
    for name in measured[0].keys().filter(is_worth_a_line) {
        println!("{}  {name}", line(measured.iter().map(|each| short(of(each, name))).collect()));
    }
}

fn of(work: &BTreeMap<String, f64>, name: &str) -> f64 {
    work.get(name).copied().unwrap_or(0.0)
}

/// The largest room beside the smallest.
fn section(sizes: &[usize], measured: &[BTreeMap<String, f64>]) -> Section {
    let (smallest, largest) = (&measured[0], &measured[measured.len() - 1]);
    let (few, many) = (sizes[0], sizes[sizes.len() - 1]);
    let row = |metric: &str, name: &str, goal| Row {
        metric: format!("{metric} per message, room of {many} beside one of {few}"),
        floor: Some(of(smallest, name).into()),
        fanlight: Some(of(largest, name).into()),
        goal,
    };
    let rows = vec![
        row("Redis round trips", ROUND_TRIPS, Goal::TimesFloor(1.1)),
        row("Redis commands", COMMANDS, Goal::TimesFloor(1.1)),
        row("CPU of Redis, µs,", REDIS, Goal::None),
        row("Postgres statements", STATEMENTS, Goal::TimesFloor(1.1)),
    ];
    let method = format!(
        "Rooms of {sizes:?} subscribers on two nodes, a message every {} ms by `POST /messages`, beyond what the idle cluster does in \
         the same time. What stands for a floor is the smallest room: the goal is that a larger one asks no more of the stores.",
        PACE.as_millis()
    );
    Section { method, rows }
}
