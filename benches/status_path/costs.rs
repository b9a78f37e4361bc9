//! What one change costs, counted by the servers themselves, beyond what they do when nothing happens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fanlight::dev::cluster::Cluster;
use sqlx::PgPool;

use super::{COUPLES, Path};
use crate::statistics::{count, short};
use crate::stores::{self, ROUND_TRIPS, STATEMENTS, Work};
use crate::table::{Goal, Row, Section};

const ROUNDS: usize = 3;
/// Confirmations are written down by then.
const SETTLED: Duration = Duration::from_millis(500);
/// What is rarer than one in so many changes has nothing to do with them.
const RARE: f64 = 0.005;

const CALLER: &str = "µs of CPU, the caller's node";
const PARTNER: &str = "µs of CPU, the partner's node";
const REDIS: &str = "µs of CPU, Redis";
const POSTGRES: &str = "µs of CPU, Postgres";

pub struct Costs<'a> {
    pub cluster: &'a Cluster,
    pub pool: &'a PgPool,
    /// Changes per second.
    pub rate: f64,
    /// Of a round.
    pub length: Duration,
}

/// The processes of a path.
pub struct Processes {
    pub caller: u32,
    pub partner: u32,
}

impl Costs<'_> {
    pub async fn measure(
        &self,
        floor: (&Path, Processes),
        ours: (&Path, Processes),
    ) -> anyhow::Result<Section> {
        stores::track_statements(self.pool).await?;
        let (floor, ours) = (self.per_change(floor).await?, self.per_change(ours).await?);
        println!("\nPer change at {:.0} per second, beyond the idle cluster's own work:\n", self.rate);
        println!("{:>10}{:>12}", "floor", "Fanlight");
        let of = |work: &BTreeMap<String, f64>, name: &str| work.get(name).copied().unwrap_or(0.0);
        for name in ours.keys().filter(|name| of(&ours, name).max(of(&floor, name)) > RARE) {
            println!("{:>10}{:>12}  {name}", short(of(&floor, name)), short(of(&ours, name)));
        }
        let row = |metric: &str, name: &str, goal| Row {
            metric: format!("{metric} per status change"),
            floor: Some(of(&floor, name).into()),
            fanlight: Some(of(&ours, name).into()),
            goal,
        };
        let rows = vec![
            Row {
                floor: Some(of(&floor, "Redis publish").into()),
                ..row("Redis round trips", ROUND_TRIPS, Goal::Number(1))
            },
            row("Postgres statements", STATEMENTS, Goal::Number(1)),
            row("CPU of the caller's node, µs", CALLER, Goal::None),
            row("CPU of the partner's node, µs", PARTNER, Goal::None),
            row("CPU of Redis, µs", REDIS, Goal::None),
            row("CPU of Postgres, µs", POSTGRES, Goal::None),
        ];
        let method = format!(
            "At {:.0} changes per second, beyond what the idle cluster does. Statements: all that `pg_stat_statements` counted; \
             above 1 are the receipts, which are written together. Round trips: `fanlight_redis_commands_total` of all nodes; the \
             floor's: `INFO commandstats`. CPU: the time of the processes; the floor is the one with its hops.",
            self.rate
        );
        Ok(Section { method, rows })
    }

    async fn per_change(
        &self,
        (path, processes): (&Path, Processes),
    ) -> anyhow::Result<BTreeMap<String, f64>> {
        tokio::time::sleep(self.length).await;
        let (idle, before_idle) = (Instant::now(), self.work(&processes).await?);
        tokio::time::sleep(self.length).await;
        let (busy, before) = (Instant::now(), self.work(&processes).await?);
        let mut changes = 0;
        for _ in 0..ROUNDS {
            changes += path.round(self.rate, self.length).await?.arrived.len() + COUPLES;
        }
        tokio::time::sleep(SETTLED).await;
        let after = self.work(&processes).await?;
        let share = busy.elapsed().as_secs_f64() / (busy - idle).as_secs_f64();
        let of_one = |name: &String| {
            let in_idle = (before.of(name) - before_idle.of(name)) * share;
            (name.clone(), (after.of(name) - before.of(name) - in_idle) / count(changes))
        };
        Ok(after.names().map(of_one).collect())
    }

    async fn work(&self, processes: &Processes) -> anyhow::Result<Work> {
        let mut work = Work::now(self.cluster, self.pool).await?;
        let processes = [
            (CALLER, processes.caller),
            (PARTNER, processes.partner),
            (REDIS, self.cluster.redis.process.pid()),
            (POSTGRES, self.cluster.postgres.process.pid()),
        ];
        for (name, pid) in processes {
            work.add_cpu(name, pid)?;
        }
        Ok(work)
    }
}
