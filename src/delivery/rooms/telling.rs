//! Tells the subscribers of one room what has happened, in order, and reads what is missing.
//!
//! At most one task works for a room, and only while there is something to do. It leaves frames with some subscribers at a
//! time and then lets others have their turn, so that a large room makes nobody else wait.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use crate::delivery::rooms::Inner;
use crate::delivery::rooms::change::Batch;
use crate::delivery::rooms::decision::Step;
use crate::delivery::rooms::live::Live;
use crate::delivery::rooms::log::{Head, RoomError, RoomFrame};
use crate::delivery::rooms::notice::{RoomNotice, RoomResyncReason, UnsubscribedReason};
use crate::domain::ids::UserId;
use crate::seeded_bug;

/// Subscribers that are told before others have their turn. Each becomes a task that writes, and whatever else comes stands
/// behind them.
const SUBSCRIBERS_AT_ONCE: usize = 32;
/// After Postgres could not be read.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// A read that takes longer is repeated later.
pub(super) const READ_DEADLINE: Duration = Duration::from_secs(10);
const USERS_PER_STATEMENT: usize = 1_000;

/// A gap, and since when it is known.
type Gap = Option<(i64, Instant)>;

impl Inner {
    /// Works until there is nothing to do.
    pub(super) async fn work(self: &Arc<Self>, live: Arc<Live>) {
        let mut gap: Gap = None;
        loop {
            let step = live.room.lock().next();
            match step {
                Step::Tell(batch) => self.tell(&live, batch).await,
                Step::Pass(passing) => {
                    for some in places(&live) {
                        for passing in &passing {
                            live.room.lock().seats.tell_passing(passing, some.clone());
                        }
                        tokio::task::yield_now().await;
                    }
                }
                Step::Mend { after, up_to } => self.mend_in_time(&live, after, up_to, &mut gap).await,
                Step::CatchUp { after, up_to } => {
                    let result = self.catch_up(&live, after, up_to).await;
                    if result.is_err() {
                        self.lagging.lock().insert(live.id);
                    }
                }
                Step::Rest if live.rest() => return,
                Step::Rest => tokio::task::yield_now().await,
            }
        }
    }

    async fn tell(&self, live: &Live, batch: Batch) {
        let started = Instant::now();
        let (mut frames, mut deferred) = (0, 0);
        for part in batch.parts() {
            for some in places(live) {
                let told = live.room.lock().tell(&part, some);
                frames += told.frames;
                deferred += told.deferred;
                tokio::task::yield_now().await;
            }
        }
        metrics::counter!("fanlight_room_frames_left_total").increment(frames as u64);
        metrics::histogram!("fanlight_room_fanout_duration_seconds").record(started.elapsed());
        if deferred > 0 {
            self.lagging.lock().insert(live.id);
        }
    }

    /// Waits a moment for what is missing, because writers overtake each other; then reads it.
    async fn mend_in_time(self: &Arc<Self>, live: &Arc<Live>, after: i64, up_to: i64, gap: &mut Gap) {
        let since = match gap {
            Some((known, since)) if *known == after => *since,
            _ => gap.insert((after, Instant::now())).1,
        };
        let grace = self.parts.config.gap_grace().saturating_sub(since.elapsed());
        if !grace.is_zero() && timeout(grace, live.arrived.notified()).await.is_ok() {
            return;
        }
        if let Err(error) = self.mend(live, after, up_to).await {
            match error {
                RoomError::NoSuchRoom => self.close(live.id, &Bytes::new()),
                RoomError::Unavailable(_) => {
                    tracing::warn!(%error, "cannot read what a room lacks; will try again");
                    sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }

    async fn mend(self: &Arc<Self>, live: &Arc<Live>, after: i64, up_to: i64) -> Result<(), RoomError> {
        metrics::counter!("fanlight_room_repairs_total").increment(1);
        if up_to - after > i64::from(self.parts.config.replay_changes_max) {
            return self.skip(live, after, up_to).await;
        }
        let (mut read, up_to) = self.page(live, after, up_to).await?;
        read.retain(|_| !seeded_bug::leaves_room_gaps());
        // After the read: whoever is left was a member later than all of it.
        self.recheck(live, up_to).await?;
        let is_unexplained = live.room.lock().is_unexplained(after, up_to, &read);
        if is_unexplained && self.is_lost(live, self.head(live).await?, up_to) {
            return Ok(());
        }
        let batch = live.room.lock().mend(after, up_to, read);
        if let Some(batch) = batch {
            self.tell(live, batch).await;
        }
        Ok(())
    }

    /// Changes after `after`, and up to which one they are all there are. `known`: one that has been committed.
    async fn page(&self, live: &Live, after: i64, known: i64) -> Result<(Vec<RoomFrame>, i64), RoomError> {
        let limit = i64::from(self.parts.config.replay_page_changes);
        let read = self.read(self.parts.log.after_revision(live.id, after, limit)).await?;
        let last = read.last().map_or(after, |frame| frame.revision);
        let is_full = i64::try_from(read.len()).is_ok_and(|changes| changes >= limit);
        let up_to = if is_full { last } else { last.max(known) };
        Ok((read, up_to))
    }

    /// Whether `up_to`, of which this node had heard before `head` was read, is of a past that Postgres has lost.
    fn is_lost(&self, live: &Live, head: Head, up_to: i64) -> bool {
        let is_lost = head.revision < up_to;
        if is_lost {
            live.room.lock().disbelieve(head.revision);
            self.doubt(&[live.id]);
        }
        is_lost
    }

    /// Too much was missed: everybody reads the state instead.
    async fn skip(self: &Arc<Self>, live: &Arc<Live>, after: i64, up_to: i64) -> Result<(), RoomError> {
        let head = self.head(live).await?;
        if self.is_lost(live, head, up_to) {
            return Ok(());
        }
        self.recheck(live, head.revision).await?;
        let reason = RoomResyncReason::TooFarBehind;
        let notice = RoomNotice::resync(live.id, reason, head).frame();
        let mut room = live.room.lock();
        if room.told() == Some(after) && head.revision > after {
            let told = room.skip_to(head, &notice);
            drop(room);
            count_resyncs(reason, told);
        }
        Ok(())
    }

    pub(super) async fn head(&self, live: &Live) -> Result<Head, RoomError> {
        let heads = self.read(self.parts.log.heads(&[live.id])).await?;
        let (_, seq, revision) = heads.into_iter().next().ok_or(RoomError::NoSuchRoom)?;
        Ok(Head { seq, revision })
    }

    /// A removal may be among what is missing, and its announcement lost: ends the subscriptions of those who are not
    /// members any more.
    pub(super) async fn recheck(self: &Arc<Self>, live: &Arc<Live>, up_to: i64) -> Result<(), RoomError> {
        let users = live.room.lock().seats.users();
        for some in users.chunks(USERS_PER_STATEMENT) {
            let members = self.members(live, some).await?;
            let gone: HashSet<UserId> = some.iter().copied().filter(|user| !members.contains(user)).collect();
            // Who has come back since has begun after that.
            let evicted = live.room.lock().seats.evict(up_to, |user| gone.contains(&user));
            self.dismiss(live, evicted, UnsubscribedReason::Removed);
        }
        Ok(())
    }

    pub(super) async fn members(&self, live: &Live, among: &[UserId]) -> Result<HashSet<UserId>, RoomError> {
        Ok(self.read(self.parts.log.members(live.id, among)).await?.into_iter().collect())
    }

    /// Tells those who were told less than the others what they lack.
    async fn catch_up(
        self: &Arc<Self>,
        live: &Arc<Live>,
        mut after: i64,
        up_to: i64,
    ) -> Result<(), RoomError> {
        metrics::counter!("fanlight_room_repairs_total").increment(1);
        let max = i64::from(self.parts.config.replay_changes_max);
        if up_to - after > max {
            let head = self.head(live).await?;
            let reason = RoomResyncReason::TooFarBehind;
            let notice = RoomNotice::resync(live.id, reason, head).frame();
            let told = live.room.lock().seats.reset(up_to, |told| told < up_to - max, &notice);
            count_resyncs(reason, told);
            after = up_to - max;
        }
        while after < up_to {
            let (read, complete) = self.page(live, after, up_to).await?;
            let complete = complete.min(up_to);
            self.recheck(live, up_to).await?;
            let frames = read.into_iter().filter(|frame| frame.revision <= complete);
            let frames = frames.map(|frame| (frame.revision, frame.frame)).collect();
            self.tell(live, Batch { after, up_to: complete, frames }).await;
            after = complete;
        }
        Ok(())
    }

    /// Reads when it is this room's turn.
    pub(super) async fn read<T>(
        &self,
        work: impl Future<Output = Result<T, RoomError>>,
    ) -> Result<T, RoomError> {
        let _turn = self.reading.acquire().await.expect("the semaphore is never closed");
        let late = |_| RoomError::Unavailable("no answer within the deadline".into());
        timeout(READ_DEADLINE, work).await.map_err(late)?
    }
}

/// All places of a room, some at a time; those that are added meanwhile begin after what is told now.
fn places(live: &Live) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
    let all = live.room.lock().seats.places();
    (0..all).step_by(SUBSCRIBERS_AT_ONCE).map(move |begin| begin..(begin + SUBSCRIBERS_AT_ONCE).min(all))
}

pub(super) fn count_resyncs(reason: RoomResyncReason, subscribers: usize) {
    metrics::counter!("fanlight_room_resyncs_total", "reason" => reason.as_str())
        .increment(subscribers as u64);
}
