//! What a node has seen of its database: which past it has, and whether it answers.
//!
//! A standby that takes over may lack what its predecessor had committed last, and gives the same places in a
//! sequence to other events. So each such takeover begins an epoch (`epochs` in the database): whoever has seen
//! something in an earlier one compares before going on.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use tokio::sync::Notify;
use uuid::Uuid;

/// Names a past of the database. Random, because one that was lost must not be named like the one that came
/// instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, utoipa::ToSchema)]
#[serde(transparent)]
#[sqlx(transparent)]
#[schema(value_type = Uuid)]
pub struct EpochId(pub Uuid);

/// Which server it is: a standby that is promoted begins the next timeline of its system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    pub system: i64,
    pub timeline: i64,
}

/// Shared by the pool, which writes it, and those who act upon it.
pub struct Watch {
    state: Mutex<State>,
    takeovers: AtomicU64,
    news: Notify,
    answers: AtomicBool,
}

#[derive(Default)]
struct State {
    seen: Option<Seen>,
    /// The newest of what was seen here and heard from other nodes.
    newest: Option<Lineage>,
    /// Connections that were made before lead to a server whose place another one took.
    outdated: Option<Instant>,
}

struct Seen {
    epoch: EpochId,
    /// How far the write-ahead log had come.
    wal: i64,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            takeovers: AtomicU64::new(0),
            news: Notify::new(),
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

    /// Resolves when there is something that the other nodes should hear, and this one's connections.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// The newest server of its line that this node has seen or heard of.
    #[must_use]
    pub fn newest(&self) -> Option<Lineage> {
        self.state.lock().newest
    }

    /// What another node has seen. If that is newer, the server we use was replaced, and may not know it.
    pub fn hear(&self, other: Lineage) {
        let mut state = self.state.lock();
        let newest = *state.newest.get_or_insert(other);
        // Of two systems nobody can tell which one is meant.
        if newest.system != other.system || newest.timeline == other.timeline {
            return;
        }
        if newest.timeline > other.timeline {
            self.news.notify_one();
        } else {
            tracing::warn!(database.timeline = other.timeline, "another node uses a newer server");
            state.newest = Some(other);
            state.outdated = Some(Instant::now());
        }
    }

    /// Notes whether the database answers in time. Say so before dropping a question that it leaves unanswered.
    pub fn set_answers(&self, answers: bool) {
        self.answers.store(answers, Ordering::SeqCst);
    }

    pub(super) fn answers(&self) -> bool {
        self.answers.load(Ordering::SeqCst)
    }

    /// Whether a connection of this age may lead to a server that was replaced.
    pub(super) fn is_outdated(&self, age: Duration) -> bool {
        self.state.lock().outdated.is_some_and(|outdated| outdated.elapsed() <= age)
    }

    /// Looks at the server behind a new connection, before anything is written on it.
    pub(super) async fn enter(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let wal_seen = self.state.lock().seen.as_ref().map_or(0, |seen| seen.wal);
        let row = sqlx::query!(
            r#"SELECT epoch AS "epoch!: EpochId", wal AS "wal!", system AS "system!", line AS "line!"
               FROM enter_epoch($1)"#,
            wal_seen
        )
        .fetch_one(connection)
        .await?;
        let server = Lineage { system: row.system, timeline: row.line };
        self.note(Seen { epoch: row.epoch, wal: row.wal }, server)
    }

    fn note(&self, now: Seen, server: Lineage) -> Result<(), sqlx::Error> {
        let mut state = self.state.lock();
        if state
            .newest
            .is_some_and(|newest| newest.system == server.system && newest.timeline > server.timeline)
        {
            return Err(sqlx::Error::Io(io::Error::other("another server has taken the place of this one")));
        }
        state.newest = Some(server);
        match &mut state.seen {
            Some(before) if before.epoch == now.epoch => before.wal = before.wal.max(now.wal),
            before => {
                if before.replace(now).is_some() {
                    tracing::warn!("another past of the database took the place of the one known");
                    metrics::counter!("fanlight_database_takeovers_total").increment(1);
                    self.takeovers.fetch_add(1, Ordering::SeqCst);
                    state.outdated = Some(Instant::now());
                }
                self.news.notify_one();
            }
        }
        Ok(())
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
        watch.state.lock().seen.as_mut().unwrap().wal = i64::MAX;
        watch.enter(&mut connection).await.unwrap();
        assert_eq!(watch.takeovers(), 2);
        watch.enter(&mut connection).await.unwrap();
        assert_eq!(watch.takeovers(), 2);
    }

    #[tokio::test]
    async fn a_server_that_was_replaced_is_refused_once_that_is_known() {
        let mut connection = connect().await;
        let watch = Watch::default();
        watch.enter(&mut connection).await.unwrap();
        watch.news().await;
        let own = watch.newest().unwrap();
        assert!(!watch.is_outdated(Duration::from_hours(1)));

        watch.hear(own);
        watch.hear(Lineage { system: own.system + 1, timeline: own.timeline + 1 });
        watch.enter(&mut connection).await.unwrap();
        let newer = Lineage { timeline: own.timeline + 1, ..own };
        watch.hear(newer);
        watch.enter(&mut connection).await.unwrap_err();
        assert!(watch.is_outdated(Duration::from_hours(1)) && !watch.is_outdated(Duration::ZERO));

        // Who is behind is told.
        watch.hear(own);
        watch.news().await;
        assert_eq!(watch.newest(), Some(newer));
    }
}
