//! What a message in a room costs: how soon the last of ten thousand has it and what others feel of that, what the stores do
//! for it, and how many can be written.

use std::net::SocketAddr;
use std::ops::Range;

use fanlight::dev::cluster::{Cluster, ClusterOptions};
use fanlight::dev::people::{self, Person};
use fanlight::dev::state::StateDir;
use fanlight::domain::ids::ChannelId;
use sqlx::PgPool;

use crate::crowd::without_pace;
use crate::table::Section;
use crate::wire::{TOKEN_TTL, address, message};
use crate::{Size, stores};

mod audience;
mod counts;
mod fan_out;
mod writing;

pub use audience::sit;
use audience::{Audience, Request};

/// What is said: as long as people's messages are.
const CONTENT: &str =
    "Has anybody seen the keys of the small meeting room? I had them yesterday, after the review.";

/// Whether this process is an audience.
pub fn is_audience() -> bool {
    std::env::args().nth(1).is_some_and(|role| role == audience::ROLE)
}

pub async fn measure(size: Size) -> anyhow::Result<Vec<Section>> {
    // The stores as in production: every commit reaches the disk.
    let state = StateDir::scratch()?;
    stores::let_postgres_count(&state).await?;
    let settings = [
        ("MESSAGES__PER_MINUTE_MAX", "1000000"),
        ("SOCKETS__MESSAGES_BURST", "1000"),
        // What nodes do by themselves now and then does not fall on single messages.
        ("SOCKETS__HEARTBEAT_MS", "600000"),
        ("DELIVERY__SWEEP_INTERVAL_MS", "4900"),
        ("DELIVERY__RECONCILE_INTERVAL_MS", "600000"),
        ("DELIVERY__ROOMS__COMPARE_INTERVAL_MS", "600000"),
        ("STATUS__LAPSE_POLL_MS", "60000"),
        ("CHANNELS__PURGE_POLL_SECONDS", "600"),
        // Nobody is looked for who has left since one part or another.
        ("PRESENCE__GRACE_MS", "600000"),
    ];
    let env = settings.map(|(name, value)| (format!("FANLIGHT__{name}"), value.to_owned()));
    let env = env.into_iter().chain(without_pace()).collect();
    let binary = env!("CARGO_BIN_EXE_fanlight");
    let options = ClusterOptions { nodes: 2, state: Some(state), env, ..ClusterOptions::scratch(binary) };
    let cluster = Cluster::start(options).await?;
    let pool = PgPool::connect(&cluster.postgres_url()).await?;

    let writing = writing::measure(&cluster, &pool, size).await?;
    let mut hall = Hall::open(&cluster, &pool, size).await?;
    let fan_out = fan_out::measure(&cluster, &pool, &mut hall, size).await?;
    let counts = counts::measure(&cluster, &pool, hall, size).await?;
    cluster.stop().await;
    Ok(vec![fan_out, counts, writing])
}

/// A room that many on one node listen to.
struct Hall {
    server: SocketAddr,
    people: Vec<Person>,
    room: Room,
    audience: Audience,
}

impl Hall {
    async fn open(cluster: &Cluster, pool: &PgPool, size: Size) -> anyhow::Result<Self> {
        let server = address(&cluster.nodes[0].http())?;
        let people = people::people(cluster, pool, size.of(10_000, 40), TOKEN_TTL).await?;
        sqlx::query("ANALYZE").execute(pool).await?;
        let room = Room::of(pool, &people).await?;
        let mut audience = Audience::start().await?;
        audience.come(server, tokens(&people)).await?;
        audience.ask(0..people.len(), room.subscribe()).await?;
        Ok(Self { server, people, room, audience })
    }

    fn seats(&self) -> Range<usize> {
        0..self.people.len()
    }
}

/// Where somebody says something.
struct Room {
    id: ChannelId,
    author: Person,
}

impl Room {
    /// Its first member is who speaks.
    async fn of(pool: &PgPool, members: &[Person]) -> anyhow::Result<Self> {
        Ok(Self { id: people::gather(pool, members).await?, author: members[0].clone() })
    }

    fn subscribe(&self) -> String {
        format!(r#"{{"type":"SUBSCRIBE","channelId":"{}"}}"#, self.id)
    }

    fn unsubscribe(&self) -> String {
        format!(r#"{{"type":"UNSUBSCRIBE","channelId":"{}"}}"#, self.id)
    }

    /// Says something, at this node.
    fn message(&self, server: SocketAddr) -> Request {
        Request { server, text: message(&self.author, self.id, CONTENT) }
    }
}

fn tokens(people: &[Person]) -> Vec<String> {
    people.iter().map(|person| person.token.clone()).collect()
}
