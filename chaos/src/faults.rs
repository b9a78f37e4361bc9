//! What can be done to the cluster, what it is promised to do about it, and how it is done and undone.

use std::time::Duration;

use anyhow::Context as _;
use fanlight::dev::fcm::{Code, Cut, Latency, OauthScript, ReplyScript, RetryAfter, Script};
use fanlight::dev::postgres::Frozen;
use fanlight::dev::process::Signal;
use serde::Serialize;

use crate::arena::Arena;
use crate::proxy::{Proxy, Weather};

const NODE_ENDS_WITHIN: Duration = Duration::from_secs(20);
/// `HAProxy` looks twice a second: the next node leaves only when the last one is back in the round.
const NOTICED_WITHIN: Duration = Duration::from_secs(2);
const REDIS_ANSWERS_WITHIN: Duration = Duration::from_secs(3);
const SLOW: Duration = Duration::from_millis(150);
const FCM_RETRY_AFTER_SECONDS: u64 = 2;
/// More than arrive during any fault.
const FCM_REPLIES: u32 = 1_000_000;
const FCM_SILENCE_MS: u64 = 30_000;

/// What a network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    Slow,
    Stalled,
    HalfOpen,
    Reset,
    Cut,
}

/// The part that is broken; two faults of a pair are of different parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Node,
    Redis,
    Postgres,
    Clients,
    Fcm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    NodeKill,
    NodeFreeze,
    RollingRestart,
    RedisKill,
    RedisFreeze,
    /// `CLIENT KILL TYPE pubsub`
    RedisDropsSubscribers,
    /// `client-output-buffer-limit pubsub`, and a flood.
    RedisTinyBuffer,
    PostgresCrash,
    PostgresFreeze,
    FcmQuota,
    FcmUnavailable,
    FcmHangs,
    FcmDropsAnswers,
    /// Between clients and nodes.
    Clients(Wire),
    /// Between one node and Redis.
    Redis(Wire),
    /// Between one node and Postgres.
    Postgres(Wire),
}

const WIRES: [Wire; 5] = [Wire::Slow, Wire::Stalled, Wire::HalfOpen, Wire::Reset, Wire::Cut];

/// How soon people must have their events; measured at those who are connected whenever they can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    /// After the commit, while the fault lasts: shown or handed to FCM. `None`: nothing is promised.
    pub during: Option<Duration>,
    /// After the end of the fault (or the commit, if that was later).
    pub after: Duration,
}

impl Fault {
    pub fn all() -> Vec<Self> {
        let single = [
            Self::NodeKill,
            Self::NodeFreeze,
            Self::RollingRestart,
            Self::RedisKill,
            Self::RedisFreeze,
            Self::RedisDropsSubscribers,
            Self::RedisTinyBuffer,
            Self::PostgresCrash,
            Self::PostgresFreeze,
            Self::FcmQuota,
            Self::FcmUnavailable,
            Self::FcmHangs,
            Self::FcmDropsAnswers,
        ];
        let wires = [Self::Clients, Self::Redis, Self::Postgres]
            .into_iter()
            .flat_map(|way| WIRES.into_iter().map(way));
        single.into_iter().chain(wires).collect()
    }

    pub fn name(self) -> String {
        let camel = format!("{self:?}").replace(['(', ')'], "");
        let mut name = String::new();
        for (at, letter) in camel.char_indices() {
            if letter.is_ascii_uppercase() && at > 0 {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }

    pub fn part(self) -> Part {
        match self {
            Self::NodeKill | Self::NodeFreeze | Self::RollingRestart => Part::Node,
            Self::RedisKill
            | Self::RedisFreeze
            | Self::RedisDropsSubscribers
            | Self::RedisTinyBuffer
            | Self::Redis(_) => Part::Redis,
            Self::PostgresCrash | Self::PostgresFreeze | Self::Postgres(_) => Part::Postgres,
            Self::Clients(_) => Part::Clients,
            Self::FcmQuota | Self::FcmUnavailable | Self::FcmHangs | Self::FcmDropsAnswers => Part::Fcm,
        }
    }

    /// A node that starts needs Postgres.
    pub fn goes_with(self, other: Self) -> bool {
        let restarts = |fault| fault == Self::RollingRestart;
        let no_postgres = |fault: Self| fault.part() == Part::Postgres;
        self.part() != other.part()
            && !(restarts(self) && no_postgres(other))
            && !(restarts(other) && no_postgres(self))
    }

    /// The promptness goals of `docs/reliability.md`.
    pub fn goal(self) -> Goal {
        let goal = |during: Option<u64>, after| Goal {
            during: during.map(Duration::from_secs),
            after: Duration::from_secs(after),
        };
        match self {
            Self::NodeKill => goal(Some(20), 20),
            Self::NodeFreeze | Self::Clients(_) => goal(Some(15), 15),
            Self::RollingRestart => goal(Some(5), 5),
            Self::RedisDropsSubscribers | Self::RedisTinyBuffer => goal(Some(2), 2),
            Self::RedisKill | Self::RedisFreeze | Self::Redis(_) => goal(Some(3), 3),
            Self::PostgresCrash | Self::PostgresFreeze | Self::Postgres(_) => goal(None, 5),
            // Who is connected must not notice.
            Self::FcmQuota | Self::FcmUnavailable | Self::FcmHangs | Self::FcmDropsAnswers => {
                goal(Some(3), 3)
            }
        }
    }
}

impl Serialize for Fault {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

impl std::str::FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = || Self::all().into_iter().map(Self::name).collect::<Vec<_>>().join(" ");
        let found = Self::all().into_iter().find(|fault| fault.name() == text);
        found.ok_or_else(|| format!("`{text}` is none of: {}", known()))
    }
}

/// A fault that lasts, and what is needed to end it.
pub struct Injury {
    fault: Fault,
    node: usize,
    frozen: Option<Frozen>,
}

/// Breaks something. `rng` chooses the node and the byte.
pub async fn strike(fault: Fault, arena: &mut Arena, rng: &mut fastrand::Rng) -> anyhow::Result<Injury> {
    let node = rng.usize(0..arena.cluster.nodes.len());
    let byte = rng.usize(1..3_000);
    let mut injury = Injury { fault, node, frozen: None };
    match fault {
        Fault::NodeKill => arena.cluster.nodes[node].process.signal(Signal::Kill)?,
        Fault::NodeFreeze => arena.cluster.nodes[node].process.signal(Signal::Stop)?,
        Fault::RollingRestart => restart_all(arena).await?,
        Fault::RedisKill => arena.cluster.redis.process.signal(Signal::Kill)?,
        Fault::RedisFreeze => arena.cluster.redis.process.signal(Signal::Stop)?,
        Fault::RedisDropsSubscribers => {
            redis_command(arena, redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub")).await?;
        }
        Fault::RedisTinyBuffer => flood_subscribers(arena).await?,
        Fault::PostgresCrash => arena.cluster.postgres.crash().await?,
        Fault::PostgresFreeze => injury.frozen = Some(arena.cluster.postgres.freeze()?),
        Fault::FcmQuota => {
            let retry_after = Some(RetryAfter::Seconds(FCM_RETRY_AFTER_SECONDS));
            fcm_replies(arena, ReplyScript { code: Code::QuotaExceeded, retry_after, ..every_reply() });
        }
        Fault::FcmUnavailable => fcm_replies(arena, ReplyScript { code: Code::Unavailable, ..every_reply() }),
        Fault::FcmHangs => {
            let (code, latency_ms, cut) = (Code::Unavailable, FCM_SILENCE_MS, Some(Cut::Close));
            fcm_replies(arena, ReplyScript { code, latency_ms, cut, ..every_reply() });
        }
        Fault::FcmDropsAnswers => fcm_replies(arena, ReplyScript { cut: Some(Cut::Reset), ..every_reply() }),
        Fault::Clients(wire) => arena.doors.iter().for_each(|door| spoil(door, wire, byte)),
        Fault::Redis(wire) => spoil(&arena.to_redis[node], wire, byte),
        Fault::Postgres(wire) => spoil(&arena.to_postgres[node], wire, byte),
    }
    Ok(injury)
}

impl Injury {
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// Ends the fault; returns when the part works again.
    pub async fn heal(self, arena: &mut Arena) -> anyhow::Result<()> {
        match self.fault {
            Fault::NodeKill => arena.restart_node(self.node).await?,
            Fault::NodeFreeze => arena.cluster.nodes[self.node].process.signal(Signal::Cont)?,
            Fault::RollingRestart | Fault::RedisDropsSubscribers => {}
            // Empty, as it keeps nothing.
            Fault::RedisKill => arena.cluster.redis.restart().await?,
            Fault::RedisFreeze => arena.cluster.redis.process.signal(Signal::Cont)?,
            Fault::RedisTinyBuffer => set_subscriber_buffer(arena, "33554432 8388608 60").await?,
            Fault::PostgresCrash => arena.cluster.postgres.restart().await?,
            Fault::PostgresFreeze => drop(self.frozen),
            Fault::FcmQuota | Fault::FcmUnavailable | Fault::FcmHangs | Fault::FcmDropsAnswers => {
                arena.cluster.fcm.end_replies();
            }
            Fault::Clients(_) => arena.doors.iter().for_each(|door| door.set(Weather::Clear)),
            Fault::Redis(_) => arena.to_redis[self.node].set(Weather::Clear),
            Fault::Postgres(_) => arena.to_postgres[self.node].set(Weather::Clear),
        }
        Ok(())
    }
}

fn spoil(proxy: &Proxy, wire: Wire, byte: usize) {
    match wire {
        Wire::Slow => proxy.set(Weather::Slow(SLOW)),
        Wire::Stalled => proxy.set(Weather::Stalled),
        Wire::HalfOpen => proxy.set(Weather::HalfOpen),
        Wire::Reset => proxy.reset(),
        Wire::Cut => proxy.set(Weather::CutAfter(byte)),
    }
}

async fn restart_all(arena: &mut Arena) -> anyhow::Result<()> {
    for node in 0..arena.cluster.nodes.len() {
        let process = &mut arena.cluster.nodes[node].process;
        process.signal(Signal::Term)?;
        anyhow::ensure!(process.ended(NODE_ENDS_WITHIN).await, "node {node} does not leave");
        arena.restart_node(node).await?;
        tokio::time::sleep(NOTICED_WITHIN).await;
    }
    Ok(())
}

/// Lets subscribers have hardly any buffer, and sends each more than fits at once.
async fn flood_subscribers(arena: &Arena) -> anyhow::Result<()> {
    set_subscriber_buffer(arena, "16384 16384 1").await?;
    let flood = "for _, channel in ipairs(redis.call('PUBSUB', 'CHANNELS', '*:inbox:*')) do
                     for i = 1, 64 do redis.call('PUBLISH', channel, string.rep('x', 65536)) end
                 end";
    redis_command(arena, redis::cmd("EVAL").arg(flood).arg(0)).await
}

async fn set_subscriber_buffer(arena: &Arena, limits: &str) -> anyhow::Result<()> {
    let value = format!("pubsub {limits}");
    redis_command(arena, redis::cmd("CONFIG").arg("SET").arg("client-output-buffer-limit").arg(value)).await
}

async fn redis_command(arena: &Arena, command: &redis::Cmd) -> anyhow::Result<()> {
    let client = redis::Client::open(arena.cluster.redis.url())?;
    let asked = async {
        let mut connection = client.get_multiplexed_async_connection().await?;
        command.query_async::<()>(&mut connection).await
    };
    Ok(tokio::time::timeout(REDIS_ANSWERS_WITHIN, asked).await.context("Redis does not answer")??)
}

fn every_reply() -> ReplyScript {
    ReplyScript { times: FCM_REPLIES, ..ReplyScript::default() }
}

fn fcm_replies(arena: &Arena, reply: ReplyScript) {
    arena.cluster.fcm.script(Script { replies: vec![reply], ..Script::default() });
}

/// As a push service is on a good day.
pub fn ordinary_fcm(arena: &Arena) {
    let latency_ms = Some(Latency { min: 5, max: 50 });
    let oauth = Some(OauthScript::default());
    arena.cluster.fcm.script(Script { latency_ms, oauth, ..Script::default() });
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own_that_finds_it_again() {
        let all = Fault::all();
        let names: HashSet<String> = all.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), all.len());
        assert!(names.contains("redis-half-open") && names.contains("node-kill"), "{names:?}");
        for fault in all {
            assert_eq!(fault.name().parse(), Ok(fault));
        }
    }

    #[test]
    fn a_pair_breaks_two_parts() {
        assert!(Fault::NodeKill.goes_with(Fault::RedisKill));
        assert!(!Fault::RedisFreeze.goes_with(Fault::RedisKill));
        assert!(!Fault::RollingRestart.goes_with(Fault::PostgresFreeze));
    }
}
