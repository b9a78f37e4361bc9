//! What a delivery costs a node that gets it from Redis: the CPU time from the message in its inbox to the frame on the
//! socket and the receipt that is written down.
//!
//! Envelopes are published to the node's inbox as fast as it takes them, to one socket after the other. The floor is a
//! subscriber that looks the socket up and writes the frame.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use fanlight::dev::cluster::Cluster;
use fanlight::dev::people::{self, Person};
use fanlight::domain::ids::EventId;
use fanlight::ports::broker::{Envelope, wire};
use redis::aio::MultiplexedConnection;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use crate::Size;
use crate::crowd::{one_node, set_last_seqs};
use crate::floors::change;
use crate::processes::cpu_us;
use crate::statistics::{Spread, count};
use crate::table::{Goal, Row, Section};
use crate::wire::{TOKEN_TTL, Wire, address};

/// Messages that one pipeline publishes.
const BATCH: usize = 50;
/// What may be on its way at once: few enough for Redis' buffer and for the queue of a connection.
const IN_FLIGHT_MAX: usize = 1_000;
const ARRIVED_WITHIN: Duration = Duration::from_secs(60);
/// Receipts are written down by then.
const SETTLED: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(1);

pub async fn measure(size: Size) -> anyhow::Result<Section> {
    let (sockets, each, rounds) = (size.of(1_000, 20), size.of(30, 2), size.of(7, 1));
    let cluster = one_node(&[]).await?;
    let pool = PgPool::connect(&cluster.postgres_url()).await?;
    let mut floor = Feed::floor(&cluster, sockets).await?;
    let mut ours = Feed::fanlight(&cluster, &pool, sockets).await?;
    let mut costs = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        let events = leave_events(&pool, &ours.people, round * each, each).await?;
        for (feed, costs) in [&mut floor, &mut ours].into_iter().zip(&mut costs) {
            let cost = feed.round(&events).await?;
            println!(
                "{}/{rounds} {}: {:.2} µs of CPU per delivery, {:.0} per second",
                round + 1,
                feed.name,
                cost.us,
                cost.rate
            );
            costs.push(cost);
        }
    }
    let [floor_rate, our_rate] =
        [&costs[0], &costs[1]].map(|costs| Spread::of(costs.iter().map(|cost| 1_000_000.0 / cost.us)));
    let [floor_us, our_us] = [&costs[0], &costs[1]].map(|costs| Spread::of(costs.iter().map(|cost| cost.us)));
    drop((floor, ours));
    cluster.stop().await;
    let row = |metric: &str, floor: Spread, fanlight: Spread, goal| Row {
        metric: metric.to_owned(),
        floor: Some(floor),
        fanlight: Some(fanlight),
        goal,
    };
    let method = format!(
        "{sockets} sockets on one node, {} events a round, published to its inbox as fast as they arrive (at most {IN_FLIGHT_MAX} on \
         their way), one user after the other; what is divided is the CPU time of the node's process. Fanlight also asks for a \
         receipt of each, reads it, and has it written down; the floor, a subscriber with the same Redis client that looks the \
         socket up and writes a frame of the same size, does not. In turns, {rounds} rounds.",
        sockets * each
    );
    let rows = vec![
        row("deliveries per second and core, fed by Redis", floor_rate, our_rate, Goal::ShareOfFloor(0.6)),
        row("CPU per delivery, µs", floor_us, our_us, Goal::None),
    ];
    Ok(Section { method, rows })
}

/// Events to deliver: by round over everybody.
struct Event {
    id: Uuid,
    seq: i64,
    /// Whose it is.
    index: usize,
}

/// What one delivery took.
struct Cost {
    us: f64,
    rate: f64,
}

/// A server that gets messages from Redis, and its clients.
struct Feed {
    name: &'static str,
    pid: u32,
    redis: MultiplexedConnection,
    channel: String,
    people: Vec<Person>,
    arrived: Arc<AtomicUsize>,
    _server: Option<change::Server>,
    _clients: JoinSet<()>,
}

impl Feed {
    async fn floor(cluster: &Cluster, sockets: usize) -> anyhow::Result<Self> {
        let server = change::subscriber(&cluster.redis.url())?;
        let (arrived, mut clients) = (Arc::default(), JoinSet::new());
        for lane in 0..sockets {
            let mut wire = Wire::connect(server.address, Ipv4Addr::LOCALHOST).await?;
            wire.open(&format!("/{lane}"), "").await?;
            clients.spawn(listen(wire, Arc::clone(&arrived)));
        }
        Ok(Self {
            name: "floor",
            pid: server.process.pid(),
            redis: connect(cluster).await?,
            channel: change::CHANNEL.to_owned(),
            people: Vec::new(),
            arrived,
            _server: Some(server),
            _clients: clients,
        })
    }

    async fn fanlight(cluster: &Cluster, pool: &PgPool, sockets: usize) -> anyhow::Result<Self> {
        let people = people::people(cluster, pool, sockets, TOKEN_TTL).await?;
        let node = &cluster.nodes[0];
        let (arrived, mut clients) = (Arc::default(), JoinSet::new());
        for person in &people {
            let mut wire = Wire::connect(address(&node.http())?, Ipv4Addr::LOCALHOST).await?;
            wire.open("/ws", &person.token).await?;
            wire.greet().await?;
            clients.spawn(listen(wire, Arc::clone(&arrived)));
        }
        let mut redis = connect(cluster).await?;
        let inboxes: Vec<String> =
            redis::cmd("PUBSUB").arg("CHANNELS").arg("*:inbox:*").query_async(&mut redis).await?;
        let [channel] = inboxes.try_into().ok().context("one node has one inbox")?;
        let pid = node.process.pid();
        Ok(Self { name: "Fanlight", pid, redis, channel, people, arrived, _server: None, _clients: clients })
    }

    async fn round(&mut self, events: &[Event]) -> anyhow::Result<Cost> {
        self.arrived.store(0, Ordering::Relaxed);
        let (started, before) = (Instant::now(), cpu_us(self.pid)?);
        for (at, batch) in (0..).step_by(BATCH).zip(events.chunks(BATCH)) {
            self.until_arrived((at + batch.len()).saturating_sub(IN_FLIGHT_MAX), started).await?;
            let mut pipeline = redis::pipe();
            for event in batch {
                pipeline.cmd("PUBLISH").arg(&self.channel).arg(&self.message(event)?).ignore();
            }
            pipeline.query_async::<()>(&mut self.redis).await?;
        }
        self.until_arrived(events.len(), started).await?;
        let rate = count(events.len()) / started.elapsed().as_secs_f64();
        sleep(SETTLED).await;
        Ok(Cost { us: (cpu_us(self.pid)? - before) / count(events.len()), rate })
    }

    async fn until_arrived(&self, number: usize, started: Instant) -> anyhow::Result<()> {
        while self.arrived.load(Ordering::Relaxed) < number {
            let arrived = self.arrived.load(Ordering::Relaxed);
            ensure!(started.elapsed() < ARRIVED_WITHIN, "{}: only {arrived} arrived", self.name);
            sleep(POLL).await;
        }
        Ok(())
    }

    fn message(&self, event: &Event) -> anyhow::Result<Vec<u8>> {
        let Some(person) = self.people.get(event.index) else { return change::message(event.index) };
        let (event, user, seq) = (EventId(event.id), person.id, event.seq);
        Ok(wire::encode(&Envelope {
            event,
            user,
            seq,
            trace: None,
            frame: Bytes::from_owner(change::frame()),
        })
        .to_vec())
    }
}

async fn connect(cluster: &Cluster) -> anyhow::Result<MultiplexedConnection> {
    Ok(fanlight::dev::redis::connect(&redis::Client::open(cluster.redis.url())?).await?)
}

async fn listen(mut wire: Wire, arrived: Arc<AtomicUsize>) {
    while wire.text().await.is_ok() {
        arrived.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes events as if they had just been committed: a receipt finds its row. Nobody else is to take them on meanwhile.
async fn leave_events(
    pool: &PgPool,
    people: &[Person],
    seen: usize,
    each: usize,
) -> anyhow::Result<Vec<Event>> {
    let ids: Vec<Uuid> = people.iter().map(|person| person.id.0).collect();
    let (from, to) = (i64::try_from(seen)? + 1, i64::try_from(seen + each)?);
    set_last_seqs(pool, &ids, to).await?;
    let rows: Vec<(Uuid, i64, i64)> = sqlx::query_as(
        r#"WITH made AS (
               INSERT INTO events (id, user_id, seq, kind, body, due_at, expires_at)
               SELECT gen_random_uuid(), id, seq, 'TEST', '{"type":"TEST"}', now() + interval '1 day', now() + interval '1 day'
               FROM unnest($1::uuid[]) AS id, generate_series($2, $3) AS seq
               RETURNING id, user_id, seq)
           SELECT made.id, position, seq FROM made
           JOIN unnest($1::uuid[]) WITH ORDINALITY AS person (id, position) ON person.id = made.user_id
           ORDER BY seq, position"#,
    )
    .bind(&ids)
    .bind(from)
    .bind(to)
    .fetch_all(pool)
    .await?;
    let event = |(id, position, seq)| Ok(Event { id, seq, index: usize::try_from(position - 1)? });
    rows.into_iter().map(event).collect::<Result<_, std::num::TryFromIntError>>().context("a position")
}
