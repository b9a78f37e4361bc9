//! What happens when the disk of Postgres is full.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fanlight::dev::cluster::ClusterOptions;
use fanlight::dev::disk::SmallDisk;
use fanlight::dev::postgres::Postgres;
use fanlight::dev::state::StateDir;
use serde_json::json;
use sqlx::PgPool;
use tokio::sync::watch;

use crate::client::Client;
use crate::stage::{PATIENT, Stage, options, until};
use crate::stores::Watchers;

/// What an empty database takes, its log, and room for a few changes.
const DISK_MIB: u32 = 192;
/// So many requests are refused before anybody makes room.
const REFUSALS: usize = 20;
const PACE: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Answers {
    done: AtomicUsize,
    refused: AtomicUsize,
}

/// Ann changes her light through a node until the flag is up; each change is made, or refused for now.
async fn change_until(stopped: watch::Receiver<bool>, ann: Client, answers: &Answers) {
    while !*stopped.borrow() {
        let answer = ann.patch("/status", json!({"status": "BUSY"})).await;
        if answer.status == 200 {
            answers.done.fetch_add(1, Ordering::SeqCst);
        } else {
            let answer = answer.expect_problem(503, "unavailable");
            assert!(answer.header("retry-after").is_some());
            answers.refused.fetch_add(1, Ordering::SeqCst);
        }
        tokio::time::sleep(PACE).await;
    }
}

async fn until_more(what: &str, answers: &AtomicUsize, more: usize) {
    let before = answers.load(Ordering::SeqCst);
    until(what, async || answers.load(Ordering::SeqCst) >= before + more).await;
}

/// Postgres gives up when its log does not fit on the disk.
async fn outgrow_the_disk(pool: &PgPool) {
    const LOG_MIB: u32 = 2 * DISK_MIB;
    let mut written = 0;
    while sqlx::query("SELECT pg_logical_emit_message(false, '', repeat('x', 1048576))")
        .execute(pool)
        .await
        .is_ok()
    {
        written += 1;
        assert!(written < LOG_MIB, "the log does not fill the disk");
    }
}

/// It may have ended, or be trying again.
async fn until_it_runs(postgres: &mut Postgres) {
    until("Postgres runs", async || {
        let running = postgres.process.is_running() || postgres.process.restart().await.is_ok();
        running && postgres.ready().await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_postgres_refuses_changes_loses_nothing_and_closes_no_socket() {
    let folder = StateDir::scratch().unwrap();
    let disk = SmallDisk::mount(&folder, "postgres", DISK_MIB).unwrap();
    // As durable as in production.
    let options = ClusterOptions { state: Some(folder), ..options(&PATIENT) };
    let mut stage = Stage::set_on(options).await;
    let mut watchers = Watchers::new(&stage).await;
    let answers = Answers::default();
    let (stop, stopped) = watch::channel(false);
    let [first, second, third] =
        [0, 1, 2].map(|node| change_until(stopped.clone(), stage.ann.at(&stage.node(node)), &answers));
    let faults = async {
        until_more("changes are made", &answers.done, 1).await;
        // There is no room for another row.
        disk.fill().unwrap();
        until_more("changes are refused", &answers.refused, REFUSALS).await;
        assert!(stage.cluster.postgres.process.is_running());
        disk.free().unwrap();
        until_more("changes are made again", &answers.done, REFUSALS).await;

        // Nor for what says that there was one.
        disk.fill().unwrap();
        outgrow_the_disk(&stage.pool).await;
        until_more("changes are refused again", &answers.refused, REFUSALS).await;
        disk.free().unwrap();
        until_it_runs(&mut stage.cluster.postgres).await;
        until_more("changes are made once more", &answers.done, REFUSALS).await;
        stop.send_replace(true);
    };
    tokio::join!(first, second, third, faults);

    let made = stage.outcomes(&stage.bob).await.last().unwrap().0 - 1;
    let done = i64::try_from(answers.done.into_inner()).unwrap();
    // A change whose answer was lost was made all the same.
    assert!(made >= done, "{done} changes were answered 200, {made} were made");
    watchers.saw_everything(&stage).await;
}
