//! What becomes of 10,000 clients on three nodes when one node is killed: how soon all of them are back, what that
//! does to the requests of others, and whether anybody misses an event or is woken for nothing.
//!
//! Meanwhile couples change their lights on the nodes that live.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fanlight::dev::cluster::{Cluster, ClusterOptions};
use fanlight::dev::people::{self, Person};
use fanlight::dev::process::Signal;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Size;
use crate::statistics::count;
use crate::table::{Goal, Row, Section};
use crate::wire::{TOKEN_TTL, address};

mod calls;
mod crowd;

use calls::Calls;
use crowd::Crowd;

const NODES: usize = 3;
const CHANGES_PER_SECOND: f64 = 50.0;
/// Callers, each with a connection that is kept alive.
const LANES: usize = 16;

pub async fn measure(size: Size) -> anyhow::Result<Vec<Section>> {
    let (sockets, calm) = (size.of(10_000, 60), size.of(Duration::from_secs(10), Duration::from_millis(500)));
    let mut cluster = Cluster::start(ClusterOptions::scratch(env!("CARGO_BIN_EXE_fanlight"))).await?;
    let pool = PgPool::connect(&cluster.postgres_url()).await?;
    let people = couples(&cluster, &pool, sockets).await?;
    let servers = cluster.nodes.iter().map(|node| address(&node.http())).collect::<Result<_, _>>()?;
    let crowd = Arc::new(Crowd::new(servers, people));
    let mut tasks = JoinSet::new();

    let opening = Instant::now();
    for index in 0..sockets {
        tasks.spawn(Arc::clone(&crowd).live(index));
    }
    crowd.until_all_are_in().await?;
    let pace = count(sockets) / opening.elapsed().as_secs_f64();
    println!(
        "{sockets} sockets on {NODES} nodes, opened at {pace:.0} per second; {} handshakes were put off.",
        crowd.put_off.swap(0, Ordering::Relaxed)
    );

    let calls = Arc::new(Calls::default());
    for lane in 0..LANES {
        tasks.spawn(Arc::clone(&calls).make(lane, Arc::clone(&crowd)));
    }
    sleep(calm).await;
    let killed = Instant::now();
    cluster.nodes[NODES - 1].process.signal(Signal::Kill)?;
    crowd.until_somebody_is_out().await;
    crowd.until_all_are_in().await?;
    let back = Instant::now();
    sleep(calm).await;
    calls.stop.store(true, Ordering::Relaxed);

    let (last_back, lost) = crowd.report_returns(killed);
    calls.report(&[
        ("before", None, killed),
        ("storm", Some(killed), back),
        ("after", Some(back), Instant::now()),
    ]);
    let behind = crowd.until_caught_up(&pool).await?;
    let events: i64 = sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(&pool).await?;
    println!(
        "\n{events} events: {behind} clients lack one, {} came twice or out of order.",
        crowd.disorder()
    );
    let woken = false_pushes(&cluster, &pool, &crowd).await?;
    drop(tasks);
    cluster.stop().await;
    let events = usize::try_from(events)?;
    Ok(vec![Outcome { sockets, pace, lost, last_back, events, behind, woken }.section()])
}

struct Outcome {
    sockets: usize,
    /// Sockets per second, when all were opened.
    pace: f64,
    /// Connections.
    lost: usize,
    last_back: Duration,
    events: usize,
    /// Clients that lack one.
    behind: usize,
    /// By false pushes.
    woken: usize,
}

impl Outcome {
    fn section(&self) -> Section {
        let row = |metric: String, floor: Option<f64>, fanlight: f64, goal| Row {
            metric,
            floor: floor.map(Into::into),
            fanlight: Some(fanlight.into()),
            goal,
        };
        let events = self.events;
        let rows = vec![
            row(
                format!("reconnect storm of {}, until the last is back, s", self.lost),
                Some(count(self.lost) / self.pace),
                self.last_back.as_secs_f64(),
                Goal::TimesFloor(1.3),
            ),
            row(
                format!("pushes to somebody who was there, % of {events} events"),
                None,
                count(self.woken) / count(events) * 100.0,
                Goal::AtMost(0.1),
            ),
            row(
                format!("clients that lack an event, of {events}"),
                Some(0.0),
                count(self.behind),
                Goal::AtMost(0.0),
            ),
        ];
        let method = format!(
            "{} sockets on three nodes, {CHANGES_PER_SECOND} status changes a second on two; then the third is killed. Its \
             clients come back after a random time that grows from half a second with each failure, or as Retry-After says, \
             with `since`. Floor: as many as were lost, at the pace at which all were opened before. Who lacks an event has in \
             the end not seen all that is in Postgres.",
            self.sockets
        );
        Section { method, rows }
    }
}

/// Two halves that are linked, everybody with a phone whose token names its owner.
async fn couples(cluster: &Cluster, pool: &PgPool, count: usize) -> anyhow::Result<Vec<Person>> {
    let people = people::people(cluster, pool, count, TOKEN_TTL).await?;
    let (actors, partners) = people.split_at(count / 2);
    people::link(pool, actors, partners).await?;
    sqlx::query(
        "INSERT INTO device_tokens
            (id, user_id, device_id, fcm_token, platform, created_at, updated_at, last_registered_at)
         SELECT gen_random_uuid(), id, 'phone', id::text, 'android', now(), now(), now() FROM users",
    )
    .execute(pool)
    .await?;
    sqlx::query("ANALYZE").execute(pool).await?;
    Ok(people)
}

/// A push is false if its receiver had a connection from the commit until the push.
/// Returns how many were false.
async fn false_pushes(cluster: &Cluster, pool: &PgPool, crowd: &Crowd) -> anyhow::Result<usize> {
    let committed: HashMap<String, i64> =
        sqlx::query_as("SELECT id::text, (EXTRACT(EPOCH FROM created_at) * 1000)::bigint FROM events")
            .fetch_all(pool)
            .await?
            .into_iter()
            .collect();
    let mut absences: HashMap<String, Vec<(i64, i64)>> = HashMap::new();
    for absence in crowd.absences.lock().iter() {
        let owner = crowd.people[absence.index].id.0.to_string();
        absences.entry(owner).or_default().push((absence.from, absence.to));
    }
    let (mut right, mut wrong) = (0, Vec::new());
    for push in cluster.fcm.log() {
        let event = push.message["data"]["eventId"].as_str().context("a push names its event")?;
        let at = committed.get(event).context("a push is of an event")?;
        let was_away = |(from, to): &(i64, i64)| *from <= push.at && to >= at;
        let away = absences.get(&push.token).is_some_and(|spans| spans.iter().any(was_away));
        if away {
            right += 1;
        } else {
            wrong.push(push.at - at);
        }
    }
    println!("{right} pushes to somebody who was away, {} to somebody who was there.", wrong.len());
    if let (Some(first), Some(last)) = (wrong.iter().min(), wrong.iter().max()) {
        println!("Those came {first} to {last} ms after the commit.");
    }
    Ok(wrong.len())
}
