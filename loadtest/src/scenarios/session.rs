//! A goose user's couple, from the first connect until all that they changed has arrived.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use goose::goose::{GooseUser, TransactionResult};
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Cast, mixed, told};
use crate::couple::{Couple, Presence, Sample};
use crate::schedule;
use crate::world::{ANSWERED_WITHIN, World};

/// Goose ends users between transactions, so none may be long.
pub(super) const FOLLOW: Duration = Duration::from_millis(250);
/// What takes longer is waited for when all users have ended, and is not in goose's report.
pub(super) const SETTLED_WITHIN_MAX: Duration = Duration::from_secs(15);
/// Of so many couples of a mixed day one phone is away from the start, ...
const ONE_IS_ABSENT_IN: u64 = 4;
/// ... for so many changes: fewer than what a client is told that it missed (`delivery.replay_events_max`).
const ABSENT_FOR_CHANGES: u32 = 800;

/// What a goose user has; clones share it.
#[derive(Clone)]
pub struct Session {
    pub world: Arc<World>,
    pub couple: Arc<Couple>,
    /// Two more people, who link and part all day.
    pub guests: Option<Arc<Couple>>,
    /// How many storms it has been through.
    pub storms: Arc<AtomicU64>,
    /// The account that signs in and refreshes.
    pub account: Arc<Mutex<mixed::Account>>,
    samples: Arc<AsyncMutex<mpsc::Receiver<Sample>>>,
}

impl Session {
    pub fn of(user: &GooseUser) -> anyhow::Result<Self> {
        user.get_session_data::<Self>().cloned().context("its couple could not begin")
    }

    fn couples(&self) -> impl Iterator<Item = &Arc<Couple>> {
        [Some(&self.couple), self.guests.as_ref()].into_iter().flatten()
    }
}

/// Switches the couple's phones on and, unless they rest, starts their schedule.
pub async fn open(user: &mut GooseUser, world: Arc<World>, cast: Cast) -> TransactionResult {
    // Shared, and without the proxy of the environment.
    user.client = world.http.clone();
    let opened = begin(&world, cast).await;
    match opened {
        Ok(session) => user.set_session_data(session),
        Err(error) => return told(Err(error)),
    }
    if cast == Cast::MixedDay { mixed::register(user).await } else { Ok(()) }
}

async fn begin(world: &Arc<World>, cast: Cast) -> anyhow::Result<Session> {
    let (sender, samples) = Couple::samples();
    let couple = Couple::begin(world, world.roster.couple().await?, sender.clone());
    let guests = match cast {
        Cast::MixedDay => Some(Couple::begin(world, world.roster.singles().await?, sender)),
        Cast::Rest | Cast::PingPong | Cast::Storm => None,
    };
    ensure!(couple.connected().await, "couple {}: a phone does not get through", couple.index);
    match cast {
        Cast::PingPong => couple.part().await,
        Cast::MixedDay if couple.index.is_multiple_of(ONE_IS_ABSENT_IN) => {
            let back_at = Instant::now() + world.pace * ABSENT_FOR_CHANGES;
            couple.phones[1].set(Presence::Away(back_at));
        }
        Cast::MixedDay | Cast::Storm | Cast::Rest => {}
    }
    if cast != Cast::Rest {
        couple.changes.spawn("schedule", schedule::keep(Arc::clone(world), Arc::clone(&couple)));
    }
    world.users_begun.fetch_add(1, Ordering::Relaxed);
    Ok(Session {
        world: Arc::clone(world),
        couple,
        guests,
        storms: Arc::new(AtomicU64::new(0)),
        account: Arc::default(),
        samples: Arc::new(AsyncMutex::new(samples)),
    })
}

/// Hands to goose what the couple measures, as it comes, for a moment.
pub async fn follow(user: &mut GooseUser) -> TransactionResult {
    let session = match Session::of(user) {
        Ok(session) => session,
        Err(error) => {
            sleep(FOLLOW).await;
            return told(Err(error));
        }
    };
    let deadline = Instant::now() + FOLLOW;
    let mut samples = session.samples.lock().await;
    while let Ok(Some(sample)) = timeout_at(deadline, samples.recv()).await {
        record(user, sample).await?;
    }
    Ok(())
}

/// Ends the schedule, and waits until what was changed has arrived.
pub async fn settle(user: &mut GooseUser) -> TransactionResult {
    let session = match Session::of(user) {
        Ok(session) => session,
        Err(error) => return told(Err(error)),
    };
    let limit = session.world.settled_within.min(SETTLED_WITHIN_MAX);
    let mut late = 0;
    for couple in session.couples() {
        couple.changes.stop();
        let answered = couple.changes.finished(ANSWERED_WITHIN).await;
        if !answered || !couple.settled(limit).await {
            late += 1;
        }
    }
    let mut samples = session.samples.lock().await;
    while let Ok(sample) = samples.try_recv() {
        record(user, sample).await?;
    }
    // Not lost yet: the run waits for it, and judges.
    let arrived = if late == 0 { Ok(()) } else { Err(anyhow!("not all changes have arrived")) };
    told(arrived)
}

pub(super) async fn record(user: &mut GooseUser, sample: Sample) -> TransactionResult {
    let Sample { method, name, took, status, error } = sample;
    user.record_custom_request_duration(method, name, took, error.is_none(), status, error.as_deref()).await
}
