//! Tells those who watch somebody.
//!
//! Every node hears every change, many of them in one message, and tells those of its connections that watch the user: so
//! nobody subscribes to anything, and to watch costs Redis nothing. Redis may lose any of it: what is known here is
//! [compared](comparing) with Postgres.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, mpsc};

use super::frames::PresenceFrame;
use super::{Parts, repository};
use crate::db::{PgPool, within_deadline};
use crate::delivery::mailbox::Mailbox;
use crate::domain::ids::{ConnectionId, UserId};
#[cfg(test)]
use crate::domain::standing::Availability;
use crate::domain::standing::Standing;
use crate::shutdown::Shutdown;
use crate::telemetry::as_gauge;

mod book;
pub mod comparing;

use book::Book;

/// Watchers that are told at once, before others have their turn.
const WATCHERS_AT_ONCE: usize = 256;
/// Connections that begin to watch read from Postgres at once; others wait for their turn.
const READING_MAX: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("one connection may watch {0} users")]
    TooMany(usize),
    #[error(transparent)]
    Unavailable(#[from] sqlx::Error),
}

/// What is heard of users, and from where.
#[derive(Debug)]
pub enum Heard {
    Changed(Vec<Standing>),
    /// By a comparison, each with the revision that was known before it.
    Compared(Vec<(Standing, i64)>),
}

pub struct Watching {
    pool: PgPool,
    background: PgPool,
    watch_max: usize,
    book: Mutex<Book>,
    heard: mpsc::Sender<Heard>,
    reading: Semaphore,
    /// Something may have been missed.
    doubted: Notify,
}

impl Watching {
    pub fn new(parts: &Parts) -> (Self, mpsc::Receiver<Heard>) {
        let (heard, queue) = mpsc::channel(parts.config.telling_queue_batches);
        let watching = Self {
            pool: parts.pool.clone(),
            background: parts.background.clone(),
            watch_max: parts.config.watch_max,
            book: Mutex::default(),
            heard,
            reading: Semaphore::new(READING_MAX),
            doubted: Notify::new(),
        };
        (watching, queue)
    }

    /// From now on the connection watches those of these users whom its user may see. It is told how they stand now, and
    /// then what changes.
    pub async fn watch(
        &self,
        mailbox: &Arc<Mailbox>,
        users: &[UserId],
        greeting: impl FnOnce(&[Standing]) -> Bytes,
    ) -> Result<(), WatchError> {
        let mut seen = HashSet::new();
        let users: Vec<UserId> = users.iter().copied().filter(|user| seen.insert(*user)).collect();
        if users.len() > self.watch_max {
            return Err(WatchError::TooMany(self.watch_max));
        }
        // Seated before the read: a change between the two would otherwise reach neither.
        self.book.lock().seat(mailbox, &users);
        match self.visible(mailbox.user, &users).await {
            Ok(mut standings) => {
                self.book.lock().settle(mailbox, &mut standings, greeting);
                self.measure();
                Ok(())
            }
            Err(error) => {
                self.book.lock().unseat(mailbox.connection);
                Err(error.into())
            }
        }
    }

    /// Those of the users whom `viewer` may see, in their order.
    pub async fn visible(&self, viewer: UserId, users: &[UserId]) -> Result<Vec<Standing>, sqlx::Error> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let read = async {
            let _turn = self.reading.acquire().await.expect("the semaphore is never closed");
            repository::visible(&self.pool, viewer, users).await
        };
        let mut standings = within_deadline(read).await?;
        let place = |user: UserId| users.iter().position(|other| *other == user);
        standings.sort_by_cached_key(|standing| place(standing.user));
        Ok(standings)
    }

    pub fn forget(&self, mailbox: &Mailbox) {
        self.book.lock().forget(mailbox.connection);
        self.measure();
    }

    /// Users changed. Returns at once.
    pub fn hear(&self, heard: Heard) {
        if self.heard.try_send(heard).is_err() {
            metrics::counter!("fanlight_presence_overflows_total", "queue" => "telling").increment(1);
            self.doubt();
        }
    }

    /// Something may have been missed: compare at once.
    pub fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// How many users are watched, and by how many connections each, together.
    pub fn sizes(&self) -> (usize, usize) {
        self.book.lock().sizes()
    }

    /// What a connection was told last of each user whom it watches.
    #[cfg(test)]
    pub fn told_to(&self, connection: ConnectionId) -> Vec<(UserId, Option<Availability>)> {
        self.book.lock().told_to(connection)
    }

    fn measure(&self) {
        let (users, watches) = self.sizes();
        metrics::gauge!("fanlight_presence_watched_users").set(as_gauge(users));
        metrics::gauge!("fanlight_presence_watches").set(as_gauge(watches));
    }

    /// Tells until the process stops. The only one who does: so watchers hear changes in their order.
    pub async fn run(self: Arc<Self>, mut queue: mpsc::Receiver<Heard>, shutdown: Shutdown) {
        self.measure();
        while let Some(Some(heard)) = shutdown.unless_stopped(queue.recv()).await {
            self.take_in(heard).await;
        }
    }

    pub(super) async fn take_in(&self, heard: Heard) {
        let all: Vec<_> = match heard {
            Heard::Changed(standings) => standings.into_iter().map(|it| (it, None)).collect(),
            Heard::Compared(standings) => standings.into_iter().map(|(it, from)| (it, Some(from))).collect(),
        };
        for (standing, from) in all {
            let is_news = self.book.lock().hear(&standing, from);
            if is_news || from == Some(standing.revision) {
                self.tell(standing).await;
            }
        }
    }

    async fn tell(&self, mut standing: Standing) {
        let (mut frame, mut after) = (PresenceFrame::of(&standing).frame(), Bound::Unbounded);
        while let Some(last) = self.tell_some(&mut standing, &mut frame, after) {
            after = Bound::Excluded(last);
            tokio::task::yield_now().await;
        }
    }

    fn tell_some(
        &self,
        standing: &mut Standing,
        frame: &mut Bytes,
        after: Bound<ConnectionId>,
    ) -> Option<ConnectionId> {
        let mut book = self.book.lock();
        let known = book.known(standing.user)?;
        // Who began to watch meanwhile may have read something newer.
        if known != *standing {
            (*standing, *frame) = (known, PresenceFrame::of(&known).frame());
        }
        book.tell(standing, frame, after, WATCHERS_AT_ONCE)
    }
}
