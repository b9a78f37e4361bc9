//! Rooms whose people write to each other; every so often a tenth of the phones of a room is cut off, and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, anyhow, ensure};
use goose::goose::{GooseUser, Scenario, Transaction, TransactionFunction, TransactionResult};
use goose::transaction;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::time::{Instant, timeout_at};

use super::session::{FOLLOW, SETTLED_WITHIN_MAX, record};
use super::storm::FORGOTTEN_MAX;
use super::told;
use crate::chat::room::Room;
use crate::chat::talk;
use crate::couple::{Couple, Sample};
use crate::world::{ANSWERED_WITHIN, World};

/// Of so many phones of a room one is cut off, and at least one.
const ONE_IS_CUT_IN: usize = 10;

/// What a goose user has that is a room; clones share it.
#[derive(Clone)]
struct Session {
    world: Arc<World>,
    room: Arc<Room>,
    /// How often its phones were cut off.
    storms: Arc<AtomicU64>,
    samples: Arc<AsyncMutex<mpsc::Receiver<Sample>>>,
}

impl Session {
    fn of(user: &GooseUser) -> anyhow::Result<Self> {
        user.get_session_data::<Self>().cloned().context("its room could not begin")
    }
}

pub fn scenario(world: &Arc<World>) -> Scenario {
    let world = Arc::clone(world);
    let begin: TransactionFunction = Arc::new(move |user: &mut GooseUser| {
        let world = Arc::clone(&world);
        Box::pin(async move {
            // Shared, and without the proxy of the environment.
            user.client = world.http.clone();
            told(begin(&world).await.map(|session| user.set_session_data(session)))
        })
    });
    Scenario::new("Chat")
        .register_transaction(Transaction::new(begin).set_name("begin").set_on_start())
        .register_transaction(transaction!(follow).set_name("follow"))
        .register_transaction(transaction!(settle).set_name("settle").set_on_stop())
}

/// Switches all phones of a room on, and lets its people talk.
async fn begin(world: &Arc<World>) -> anyhow::Result<Session> {
    let (sender, samples) = Couple::samples();
    let number = world.rooms_begun.fetch_add(1, Ordering::Relaxed);
    let room = Room::begin(world, world.roster.room(number).await?, sender);
    ensure!(room.connected().await, "room {number}: a phone does not get through");
    room.changes.spawn("talk", talk::keep(Arc::clone(world), Arc::clone(&room)));
    world.users_begun.fetch_add(1, Ordering::Relaxed);
    Ok(Session {
        world: Arc::clone(world),
        room,
        storms: Arc::default(),
        samples: Arc::new(AsyncMutex::new(samples)),
    })
}

/// Hands to goose what the room measures, as it comes, for a moment.
async fn follow(user: &mut GooseUser) -> TransactionResult {
    let session = match Session::of(user) {
        Ok(session) => session,
        Err(error) => {
            tokio::time::sleep(FOLLOW).await;
            return told(Err(error));
        }
    };
    let passed = session.world.began.elapsed().as_secs() / session.world.storm_every.as_secs();
    if session.storms.swap(passed, Ordering::Relaxed) < passed {
        let seats = &session.room.seats;
        for _ in 0..(seats.len() / ONE_IS_CUT_IN).max(1) {
            seats[fastrand::usize(0..seats.len())].handle.cut(fastrand::i64(0..=FORGOTTEN_MAX));
        }
    }
    let deadline = Instant::now() + FOLLOW;
    let mut samples = session.samples.lock().await;
    while let Ok(Some(sample)) = timeout_at(deadline, samples.recv()).await {
        record(user, sample).await?;
    }
    Ok(())
}

/// Ends the talk, and waits until everybody has heard everything.
async fn settle(user: &mut GooseUser) -> TransactionResult {
    let Session { world, room, samples, .. } = match Session::of(user) {
        Ok(session) => session,
        Err(error) => return told(Err(error)),
    };
    room.changes.stop();
    let answered = room.changes.finished(ANSWERED_WITHIN).await;
    let is_settled = answered && room.settled(world.settled_within.min(SETTLED_WITHIN_MAX)).await;
    let mut samples = samples.lock().await;
    while let Ok(sample) = samples.try_recv() {
        record(user, sample).await?;
    }
    // Not lost yet: the run waits for it, and judges.
    told(if is_settled { Ok(()) } else { Err(anyhow!("not everybody has heard everything")) })
}
