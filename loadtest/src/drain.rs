//! After the run: everything that is under way arrives, is confirmed or pushed, and whoever was away is called back.

use std::time::Duration;

use fanlight::domain::clock::{Clock as _, SystemClock};
use sqlx::PgPool;
use tokio::time::{Instant, sleep};

use crate::couple::Presence;
use crate::stage::Private;
use crate::tally::Fault;
use crate::world::{ANSWERED_WITHIN, World};

const POLL: Duration = Duration::from_millis(200);
/// What comes now would come too often: longer than a look of the sweeper, a settlement and a reconnect.
const LINGER: Duration = Duration::from_secs(2);
const TASKS_END_WITHIN: Duration = Duration::from_secs(10);

/// Returns when everybody was called back (epoch ms).
pub async fn drain(world: &World, private: Option<&Private>) -> anyhow::Result<i64> {
    let (couples, rooms) = (world.couples.lock().clone(), world.rooms.lock().clone());
    let all_changes = || couples.iter().map(|it| &it.changes).chain(rooms.iter().map(|it| &it.changes));
    for changes in all_changes() {
        changes.stop();
    }
    for changes in all_changes() {
        changes.finished(ANSWERED_WITHIN).await;
    }
    // Whom a push can reach must have it before they come back by themselves.
    let deadline = Instant::now() + world.settled_within;
    if let Some(Private { pool, .. }) = private {
        until(deadline, async || Ok(pending(pool, false).await? == 0)).await?;
    }
    let recalled_at = SystemClock.now().timestamp_millis();
    for phone in couples.iter().flat_map(|couple| &couple.phones) {
        phone.recall();
    }
    let has_arrived = || {
        couples.iter().all(|couple| couple.ledger.lock().is_settled([true; 2]))
            && rooms.iter().all(|room| room.is_settled())
    };
    until(deadline, async || {
        Ok(has_arrived()
            && match private {
                Some(Private { pool, .. }) => pending(pool, true).await? == 0,
                None => true,
            })
    })
    .await?;
    sleep(LINGER).await;
    if let Some(Private { pool, .. }) = private {
        let left = pending(pool, true).await?;
        if left > 0 {
            world.tally.fault(Fault::Unsettled, || format!("{left} events have no outcome"));
        }
    }
    for phone in couples.iter().flat_map(|couple| &couple.phones) {
        phone.set(Presence::Over);
    }
    for room in &rooms {
        room.end();
    }
    world.tasks.finished(TASKS_END_WITHIN).await;
    Ok(recalled_at)
}

/// Waits until it is so, or it is too late: then the verdict says what is missing.
async fn until(
    deadline: Instant,
    mut is_so: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    while !is_so().await? && Instant::now() < deadline {
        sleep(POLL).await;
    }
    Ok(())
}

/// How many events are not settled: all, or those that a push can settle. The former fit the end, when everybody is
/// there, the latter the time before, when some are away.
async fn pending(pool: &PgPool, everybody_is_there: bool) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM events WHERE outcome IS NULL AND ($1 OR push IS NOT NULL)")
        .bind(everybody_is_there)
        .fetch_one(pool)
        .await?)
}
