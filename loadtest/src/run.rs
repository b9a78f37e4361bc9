//! One run: a stage, its people, the load, the drain, the verdict.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, bail};
use goose::GooseError;
use goose::metrics::GooseMetrics;

use crate::drain::drain;
use crate::machine::Machine;
use crate::options::Options;
use crate::report::Report;
use crate::rolling::restart_all;
use crate::scenarios;
use crate::stage::{Private, Stage};
use crate::truth::{self, Ending};
use crate::verdict::{Changes, Limits, Pushes, compare, judge};
use crate::world::World;

/// Runs, and leaves goose's own reports where `--report-file` says.
///
/// # Errors
/// When the cluster does not start, or cannot be asked in the end: then nothing is known.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let _as_many_as_the_system_lets = rlimit::increase_nofile_limit(u64::MAX);
    let mut stage = Stage::set(options).await?;
    let result = on(&mut stage, options).await;
    stage.strike().await;
    result
}

async fn on(stage: &mut Stage, options: &Options) -> anyhow::Result<Report> {
    let roster = stage.roster(options).await?;
    let world = Arc::new(World::new(stage.url(), roster, options)?);
    let attack = scenarios::attack(options.goose.clone(), &world)?;
    let run_time = options.run_time()?;
    let restarts = async {
        match &mut *stage {
            Stage::Private(private) if options.rolling_restart => {
                restart_all(&mut private.cluster, run_time).await
            }
            Stage::Private(_) | Stage::Target(_) => Ok(0),
        }
    };
    let (attacked, restarted) = tokio::join!(Box::pin(attack.execute()), restarts);
    let restarted = restarted.context("a node cannot be restarted")?;
    let (metrics, broken) = match attacked {
        Ok(metrics) => (metrics, Vec::new()),
        Err(GooseError::ThresholdsFailed { failed, metrics }) => {
            let rules = failed.iter().map(|result| format!("{}, observed {}", result.rule, result.observed));
            (*metrics.0, rules.collect())
        }
        // By itself it names neither.
        Err(GooseError::InvalidOption { option, value, detail }) => bail!("{option} {value}: {detail}"),
        Err(error) => return Err(error).context("goose cannot run"),
    };

    let recalled_at = drain(&world, stage.private()).await?;
    let pushes = stage.private().map(|private| Pushes::of(private.cluster.fcm.log())).transpose()?;
    let endings: Vec<Ending> = match stage.private() {
        Some(Private { pool, .. }) => truth::endings(pool).await?,
        None => Vec::new(),
    };
    let couples = world.couples.lock().clone();
    let seen = pushes.as_ref().map(|pushes| (pushes, recalled_at));
    let mut changes = Changes::default();
    for couple in &couples {
        let tokens = [0, 1].map(|side: usize| couple.people[side].fcm_token.as_str());
        changes += compare((&couple.index.to_string(), &couple.ledger.lock()), tokens, seen, &world.tally);
    }
    let rooms = world.rooms.lock().clone();
    let mut messages = Changes::default();
    for room in &rooms {
        messages += room.judge(&world.tally);
    }
    let limits = Limits { p99_ms: options.p99_ms, errors_percent: options.errors_percent };
    let mut verdict = judge([changes, messages], world.tally.take(), requests(&metrics), limits);
    verdict.complaints.extend(broken);
    let begun = world.users_begun.load(Ordering::Relaxed);
    if begun != options.users()? {
        verdict.complaints.push(format!("{begun} of {} couples and rooms have begun", options.users()?));
    }
    Ok(Report {
        target: stage.title(),
        machine: Machine::this(),
        couples: options.users()?.saturating_sub(rooms.len()),
        guests: (couples.len() + rooms.len()).saturating_sub(options.users()?),
        rooms: rooms.len(),
        people: rooms.iter().map(|room| room.people.len()).sum(),
        run_time,
        pace: world.pace,
        limits,
        restarted,
        pushes: pushes.map(|pushes| pushes.count()),
        endings,
        verdict,
    })
}

/// All that goose has counted, and what of it failed. Deliveries and resumes are no requests, and cannot fail.
fn requests(metrics: &GooseMetrics) -> [u64; 2] {
    let asked = metrics.requests.values().filter(|request| {
        request.custom_method != "WS" || ["connect", "SEND"].contains(&request.path.as_str())
    });
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    asked.fold([0, 0], |[all, failed], request| {
        [all + count(request.success_count + request.fail_count), failed + count(request.fail_count)]
    })
}
