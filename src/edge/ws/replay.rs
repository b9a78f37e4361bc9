//! What a connection missed, read from Postgres page by page.
//!
//! The connection is in the registry before its replay starts. Events that are committed meanwhile only tell
//! it that there is more to read, so the seam between replay and live has neither gap nor repetition.
//!
//! Few connections read at once: when thousands come back together they wait for each other here, and not in
//! front of the requests that need Postgres too.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::db::{PgPool, Watch, within_deadline};
use crate::delivery::mailbox::Numbered;
use crate::delivery::outbox::{Cursor, Position};
use crate::delivery::{Config, outbox};
use crate::domain::ids::UserId;
use crate::edge::ws::protocol::ResyncReason;

/// Reads a user's events for a connection.
#[derive(Clone)]
pub struct Replay {
    pool: PgPool,
    database: Arc<Watch>,
    /// A client that missed more is told to resync.
    pub events_max: i64,
    page_events: i64,
    retention: Duration,
    reading: Arc<Semaphore>,
}

/// Where a new connection starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It saw everything up to `after`, and gets what came since.
    Resume { after: i64 },
    /// It said nothing of what it saw, and gets what is not settled among the events up to `last_seq`.
    Unsettled { last_seq: i64 },
    /// It must read the state; events go on after `last_seq`.
    Resync { reason: ResyncReason, last_seq: i64 },
}

impl Replay {
    #[must_use]
    pub fn new(pool: PgPool, database: &Arc<Watch>, config: &Config) -> Self {
        let database = Arc::clone(database);
        let (events_max, page_events) = (config.replay_events_max.into(), config.replay_page_events.into());
        let retention = config.retention();
        let reading = Arc::new(Semaphore::new(config.replay_concurrency));
        Self { pool, database, events_max, page_events, retention, reading }
    }

    /// Decides where a connection starts. Also returns where the user's sequence stands.
    pub async fn start(&self, user: UserId, cursor: Cursor) -> Result<(Start, Position), sqlx::Error> {
        let since = cursor.since.map(|since| since.max(0));
        let asked = outbox::position(&self.pool, user, Cursor { since, ..cursor }, self.retention);
        let position = self.read(asked).await?;
        Ok((start(since, position, self.events_max), position))
    }

    /// How often another past took the place of the one that this node had seen: a connection that has read
    /// before compares again.
    #[must_use]
    pub fn takeovers(&self) -> u64 {
        self.database.takeovers()
    }

    /// The next page after `after`.
    pub async fn page(&self, user: UserId, after: i64) -> Result<Vec<Numbered>, sqlx::Error> {
        self.read(outbox::read_after(&self.pool, user, after, self.page_events)).await
    }

    /// Whether there may be more after this page.
    #[must_use]
    pub fn is_full(&self, page: &[Numbered]) -> bool {
        i64::try_from(page.len()).is_ok_and(|events| events >= self.page_events)
    }

    /// The next page of unsettled events after `after`, up to `up_to`.
    pub async fn unsettled_page(
        &self,
        user: UserId,
        after: i64,
        up_to: i64,
    ) -> Result<Vec<Numbered>, sqlx::Error> {
        self.read(outbox::read_unsettled(&self.pool, user, after, up_to, self.page_events)).await
    }

    /// Reads when it is this connection's turn; the deadline is for both. In a box, and not `async`: a connection that
    /// reads nothing, as it does most of its life, should not keep room for a statement (4.7 KiB).
    fn read<'a, T: Send + 'a>(
        &'a self,
        work: impl Future<Output = Result<T, sqlx::Error>> + Send + 'a,
    ) -> Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'a>> {
        let asked = Instant::now();
        Box::pin(within_deadline(async move {
            let _turn = self.reading.acquire().await.expect("the semaphore is never closed");
            metrics::histogram!("fanlight_replay_wait_duration_seconds").record(asked.elapsed());
            work.await
        }))
    }
}

fn start(since: Option<i64>, position: Position, events_max: i64) -> Start {
    let last_seq = position.last_seq;
    let Some(since) = since else { return Start::Unsettled { last_seq } };
    let resync = |reason| Start::Resync { reason, last_seq };
    if since > last_seq {
        resync(ResyncReason::AheadOfServer)
    } else if !position.shares_past {
        resync(ResyncReason::AnotherPast)
    } else if last_seq - since > events_max {
        resync(ResyncReason::TooFarBehind)
    } else if since < last_seq && position.first_kept_seq != Some(since + 1) {
        resync(ResyncReason::BeyondRetention)
    } else {
        Start::Resume { after: since }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_never_a_silent_gap() {
        let at =
            |last_seq, first_kept_seq| Position { last_seq, first_kept_seq, epoch: None, shares_past: true };
        let elsewhere = Position { shares_past: false, ..at(5, Some(4)) };
        let resync = |reason, last_seq| Start::Resync { reason, last_seq };
        let cases = [
            (None, at(5, Some(1)), Start::Unsettled { last_seq: 5 }),
            (Some(5), at(5, None), Start::Resume { after: 5 }),
            (Some(3), at(5, Some(4)), Start::Resume { after: 3 }),
            (Some(0), at(0, None), Start::Resume { after: 0 }),
            (Some(3), elsewhere, resync(ResyncReason::AnotherPast, 5)),
            (None, elsewhere, Start::Unsettled { last_seq: 5 }),
            (Some(6), elsewhere, resync(ResyncReason::AheadOfServer, 5)),
            (Some(3), at(5, Some(5)), resync(ResyncReason::BeyondRetention, 5)),
            (Some(3), at(5, None), resync(ResyncReason::BeyondRetention, 5)),
            (Some(6), at(5, None), resync(ResyncReason::AheadOfServer, 5)),
            (Some(0), at(5_000, Some(1)), resync(ResyncReason::TooFarBehind, 5_000)),
            (Some(i64::MAX), at(5, None), resync(ResyncReason::AheadOfServer, 5)),
        ];
        for (since, position, expected) in cases {
            assert_eq!(start(since, position, 1_000), expected, "{since:?} {position:?}");
        }
    }
}
