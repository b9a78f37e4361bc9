//! Finds changes of rooms that were lost on the way to this node.
//!
//! Compares how far each room is here with how far it is in Postgres, one statement for many rooms. Seldom while the
//! broker is well, because the next change reveals a gap anyway; every second while it is not, so that rooms go on
//! without it; and at once what may have been missed while a topic was not heard.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use crate::delivery::rooms::Inner;
use crate::delivery::rooms::decision::Comparison;
use crate::delivery::rooms::live::Live;
use crate::delivery::rooms::log::{Head, RoomError};
use crate::delivery::rooms::notice::{RoomNotice, RoomResyncReason};
use crate::delivery::rooms::telling::count_resyncs;
use crate::domain::ids::ChannelId;

/// While the broker is away, or the last comparison failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
const ROOMS_PER_STATEMENT: usize = 1_000;

/// Compares until the process stops.
pub async fn run(inner: Arc<Inner>) {
    let mut compared_at = Instant::now();
    while !inner.shutdown.is_stopping() {
        // Cancel-safe: a lost notification is repeated by the timer.
        let woken = timeout(RETRY_INTERVAL, inner.doubted.notified());
        let was_woken = inner.shutdown.unless_stopped(woken).await.is_some_and(|woken| woken.is_ok());
        inner.let_laggards_catch_up();
        let mut rooms: Vec<ChannelId> = std::mem::take(&mut *inner.doubtful.lock()).into_iter().collect();
        let is_due = compared_at.elapsed() >= inner.parts.config.compare_interval();
        let is_anew = inner.is_anew.swap(false, Ordering::SeqCst);
        if is_due || is_anew || !(was_woken || inner.parts.health.is_well()) {
            compared_at = Instant::now();
            rooms = inner.live.read().keys().copied().collect();
        }
        if let Err(error) = inner.compare(&rooms, is_anew).await {
            tracing::warn!(%error, "cannot compare rooms with postgres; will try again");
            inner.is_anew.fetch_or(is_anew, Ordering::SeqCst);
            inner.doubtful.lock().extend(rooms);
        }
    }
}

impl Inner {
    /// Something may have been missed in these rooms: compare at once.
    pub fn doubt(&self, rooms: &[ChannelId]) {
        self.doubtful.lock().extend(rooms);
        self.doubted.notify_one();
    }

    fn let_laggards_catch_up(self: &Arc<Self>) {
        let lagging = std::mem::take(&mut *self.lagging.lock());
        for live in lagging.into_iter().filter_map(|room| self.room(room)) {
            live.room.lock().catch_up();
            self.wake(&live);
        }
    }

    async fn compare(self: &Arc<Self>, rooms: &[ChannelId], is_anew: bool) -> Result<(), RoomError> {
        for some in rooms.chunks(ROOMS_PER_STATEMENT) {
            // How far each room is, read before Postgres is asked: it can be ahead only of a lost past.
            let before = some.iter().filter_map(|room| self.room(*room)).map(|live| {
                let told = live.room.lock().told();
                (live, told)
            });
            let before: Vec<(Arc<Live>, Option<i64>)> = before.collect();
            let heads = self.read(self.parts.log.heads(some)).await?;
            let heads: HashMap<ChannelId, Head> =
                heads.into_iter().map(|(room, seq, revision)| (room, Head { seq, revision })).collect();
            for (live, told) in before {
                match heads.get(&live.id) {
                    Some(head) => self.compare_one(&live, told, *head, is_anew).await?,
                    None => self.close(live.id, &Bytes::new()),
                }
            }
        }
        Ok(())
    }

    async fn compare_one(
        self: &Arc<Self>,
        live: &Arc<Live>,
        told: Option<i64>,
        head: Head,
        is_anew: bool,
    ) -> Result<(), RoomError> {
        if is_anew || told.is_some_and(|told| told > head.revision) {
            // Who is a member may be another matter in this past, and removals are jumped over.
            self.recheck(live, i64::MAX).await?;
        }
        let notice = |reason| RoomNotice::resync(live.id, reason, head).frame();
        let mut room = live.room.lock();
        if is_anew {
            let reason = RoomResyncReason::AnotherPast;
            count_resyncs(reason, room.start_over(head, |_| true, &notice(reason)));
            return Ok(());
        }
        match room.compare(told, head) {
            Comparison::Abreast => {}
            Comparison::Behind => {
                metrics::counter!("fanlight_room_gaps_found_total").increment(1);
                drop(room);
                self.wake(live);
            }
            Comparison::Ahead => {
                // A standby took over without the last commits: the next changes would be taken for old ones.
                let reason = RoomResyncReason::AheadOfServer;
                let concerns = |told| told > head.revision;
                count_resyncs(reason, room.start_over(head, concerns, &notice(reason)));
            }
        }
        Ok(())
    }
}
