//! How each fault is done, and undone.

use std::time::Duration;

use anyhow::Context as _;
use fanlight::dev::fcm::{Code, Cut, Latency, OauthScript, ReplyScript, RetryAfter, Script};
use fanlight::dev::postgres::Frozen;
use fanlight::dev::process::Signal;
use tokio::time::{Instant, sleep};

use crate::arena::Arena;
use crate::faults::{Fault, Wire};
use crate::proxy::{Proxy, Weather};

const NODE_ENDS_WITHIN: Duration = Duration::from_secs(20);
/// `HAProxy` looks twice a second: the next node leaves only when the last one is back in the round.
const NOTICED_WITHIN: Duration = Duration::from_secs(2);
const REDIS_ANSWERS_WITHIN: Duration = Duration::from_secs(15);
const REDIS_PAUSE: Duration = Duration::from_millis(100);
/// Of Redis' own defaults: hard limit, soft limit, and for how many seconds.
const ORDINARY_BUFFER: &str = "33554432 8388608 60";
const SLOW: Duration = Duration::from_millis(150);
const FCM_RETRY_AFTER_SECONDS: u64 = 2;
/// More than arrive during any fault.
const FCM_REPLIES: u32 = 1_000_000;
const FCM_SILENCE_MS: u64 = 30_000;

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
        Fault::Clients(wire) => {
            // The others go on making changes.
            let (balanced, direct) = arena.doors.split_at(1);
            let doors = if rng.bool() { balanced } else { direct };
            for door in doors {
                spoil(door, wire, byte);
            }
        }
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
            Fault::RedisTinyBuffer => set_subscriber_buffer(arena, ORDINARY_BUFFER).await?,
            Fault::PostgresCrash => arena.cluster.postgres.restart().await?,
            Fault::PostgresFreeze => drop(self.frozen),
            Fault::FcmQuota | Fault::FcmUnavailable | Fault::FcmHangs | Fault::FcmDropsAnswers => {
                arena.cluster.fcm.end_replies();
            }
            Fault::Clients(_) => arena.doors.iter().for_each(|door| door.set(Weather::Clear)),
            Fault::Redis(_) => arena.to_redis[self.node].set(Weather::Clear),
            Fault::Postgres(_) => arena.to_postgres[self.node].set(arena.postgres_weather),
        }
        Ok(())
    }
}

/// After something could not be broken or healed: as if nothing had ever been broken.
pub async fn heal_everything(arena: &mut Arena) -> anyhow::Result<()> {
    for way in arena.doors.iter().chain(&arena.to_redis) {
        way.set(Weather::Clear);
    }
    for way in &arena.to_postgres {
        way.set(arena.postgres_weather);
    }
    arena.cluster.fcm.end_replies();
    arena.cluster.redis.process.signal(Signal::Cont)?;
    if !arena.cluster.redis.process.is_running() {
        arena.cluster.redis.restart().await?;
    }
    if !arena.cluster.postgres.process.is_running() {
        arena.cluster.postgres.restart().await?;
    }
    for node in 0..arena.cluster.nodes.len() {
        arena.cluster.nodes[node].process.signal(Signal::Cont)?;
        if !arena.cluster.nodes[node].process.is_running() {
            arena.restart_node(node).await?;
        }
    }
    set_subscriber_buffer(arena, ORDINARY_BUFFER).await
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
        sleep(NOTICED_WITHIN).await;
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

/// Tells Redis; again, if it does not answer at once on a busy machine.
async fn redis_command(arena: &Arena, command: &redis::Cmd) -> anyhow::Result<()> {
    let client = redis::Client::open(arena.cluster.redis.url())?;
    let deadline = Instant::now() + REDIS_ANSWERS_WITHIN;
    loop {
        let asked = async {
            let mut connection = client.get_multiplexed_async_connection().await?;
            command.query_async::<()>(&mut connection).await
        };
        match asked.await {
            Err(error) if Instant::now() >= deadline => return Err(error).context("Redis does not answer"),
            Err(_) => sleep(REDIS_PAUSE).await,
            Ok(()) => return Ok(()),
        }
    }
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
