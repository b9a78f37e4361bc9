//! What a node has seen of its database: which past it has, and whether it answers.
//!
//! A standby that takes over may lack what its predecessor had committed last, and gives the same places in a
//! sequence to other events. So each such takeover begins an epoch (`epochs` in the database): whoever has seen
//! something in an earlier one compares before going on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::Serialize;
use sqlx::postgres::PgConnection;
use tokio::sync::Notify;
use uuid::Uuid;

/// Names a past of the database. Random, because one that was lost must not be named like the one that came
/// instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct EpochId(pub Uuid);

/// Shared by the pool, which writes it, and those who act upon it.
pub struct Watch {
    seen: Mutex<Option<Seen>>,
    takeovers: AtomicU64,
    taken_over: Notify,
    answers: AtomicBool,
}

struct Seen {
    epoch: EpochId,
    /// How far the write-ahead log had come.
    wal: i64,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            seen: Mutex::default(),
            takeovers: AtomicU64::new(0),
            taken_over: Notify::new(),
            answers: AtomicBool::new(true),
        }
    }
}

impl Watch {
    /// How often another past took the place of the one that this node had seen.
    #[must_use]
    pub fn takeovers(&self) -> u64 {
        self.takeovers.load(Ordering::SeqCst)
    }

    /// Resolves after the next takeover, or at once after one that nobody waited for.
    pub async fn taken_over(&self) {
        self.taken_over.notified().await;
    }

    /// Notes whether the database answers in time. Say so before dropping a question that it leaves unanswered.
    pub fn set_answers(&self, answers: bool) {
        self.answers.store(answers, Ordering::SeqCst);
    }

    pub(super) fn answers(&self) -> bool {
        self.answers.load(Ordering::SeqCst)
    }

    /// Looks at the server behind a new connection, before anything is written on it.
    pub(super) async fn enter(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let wal_seen = self.seen.lock().as_ref().map_or(0, |seen| seen.wal);
        let row = sqlx::query!(
            r#"SELECT epoch AS "epoch!: EpochId", wal AS "wal!" FROM enter_epoch($1)"#,
            wal_seen
        )
        .fetch_one(connection)
        .await?;
        self.note(Seen { epoch: row.epoch, wal: row.wal });
        Ok(())
    }

    fn note(&self, now: Seen) {
        let mut seen = self.seen.lock();
        match &mut *seen {
            Some(before) if before.epoch == now.epoch => before.wal = before.wal.max(now.wal),
            before => {
                if before.replace(now).is_some() {
                    tracing::warn!("another past of the database took the place of the one known");
                    metrics::counter!("fanlight_database_takeovers_total").increment(1);
                    self.takeovers.fetch_add(1, Ordering::SeqCst);
                    self.taken_over.notify_one();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::testing;

    async fn connect() -> PgConnection {
        testing::database().await.acquire().await.unwrap().detach()
    }

    #[tokio::test]
    async fn a_database_that_only_grows_is_the_same() {
        let mut connection = connect().await;
        let watch = Watch::default();
        for _ in 0..3 {
            watch.enter(&mut connection).await.unwrap();
            sqlx::query("SELECT pg_switch_wal()").execute(&mut connection).await.unwrap();
        }
        assert_eq!(watch.takeovers(), 0);
        let epochs: i64 =
            sqlx::query_scalar("SELECT count(*) FROM epochs").fetch_one(&mut connection).await.unwrap();
        assert_eq!(epochs, 1);
    }

    #[tokio::test]
    async fn another_timeline_or_an_older_copy_is_another_past() {
        let mut connection = connect().await;
        let watch = Watch::default();
        watch.enter(&mut connection).await.unwrap();

        // As on a standby that was promoted.
        sqlx::query("UPDATE epochs SET timeline = timeline - 1").execute(&mut connection).await.unwrap();
        watch.enter(&mut connection).await.unwrap();
        assert_eq!(watch.takeovers(), 1);
        watch.enter(&mut connection).await.unwrap();
        assert_eq!(watch.takeovers(), 1);

        // As after the files of yesterday were put back.
        watch.seen.lock().as_mut().unwrap().wal = i64::MAX;
        watch.enter(&mut connection).await.unwrap();
        assert_eq!(watch.takeovers(), 2);
        watch.enter(&mut connection).await.unwrap();
        assert_eq!(watch.takeovers(), 2);
        watch.taken_over().await;
    }
}
