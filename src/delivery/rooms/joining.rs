//! How a connection begins to hear a room.
//!
//! It takes a seat first, so that whatever happens from then on is kept for it; then it is read where the room is, and
//! only then asked whether the user may hear it: a removal that this misses comes later than what was read, and finds the
//! seat. What the client missed is written at the pace at which the client takes it. At last it goes live, with what
//! happened meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::delivery::mailbox::Mailbox;
use crate::delivery::rooms::decision::Closed;
use crate::delivery::rooms::live::Live;
use crate::delivery::rooms::log::{Head, RoomError};
use crate::delivery::rooms::notice::{RoomNotice, RoomResyncReason};
use crate::delivery::rooms::seats::SeatId;
use crate::delivery::rooms::telling::count_resyncs;
use crate::delivery::rooms::{Inner, Rooms, pacing};
use crate::domain::ids::ChannelId;
use crate::telemetry::as_gauge;

/// How long a subscription to the topic is waited for. What is missed without it is found by a comparison.
const TOPIC_DEADLINE: Duration = Duration::from_secs(1);
/// A room in which more happens than can be read so often is joined another time.
const ROUNDS_MAX: usize = 8;

/// What a client has seen of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// It reads the state itself, after it was told that it has joined.
    Now,
    /// The messages up to this seq.
    Seq(i64),
    /// All changes up to this revision.
    Revision(i64),
}

/// Why a connection hears nothing of a room.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JoinError {
    #[error("this connection subscribes to as many rooms as one may")]
    TooManySubscriptions,
    #[error("the user is not a member")]
    NotAMember,
    #[error(transparent)]
    Room(#[from] RoomError),
    #[error("more happens in this room than this connection can take")]
    TooFast,
}

/// What has to be written before the client is where the room was.
struct Missed {
    head: Head,
    /// The first of it.
    page: Vec<(i64, Bytes)>,
    resync: Option<RoomResyncReason>,
}

impl Rooms {
    /// Lets a connection hear a room, after what it missed; `greeting` goes between the two. One that subscribes already
    /// begins anew.
    ///
    /// # Errors
    /// [`JoinError`]; then it hears nothing.
    pub async fn subscribe(
        &self,
        mailbox: &Arc<Mailbox>,
        room: ChannelId,
        since: Since,
        greeting: &(dyn Fn(Head) -> Bytes + Send + Sync),
    ) -> Result<(), JoinError> {
        let joining = Joining::begin(&self.0, mailbox, room)?;
        joining.topic_is_heard().await;
        let mut since = since;
        for _ in 0..ROUNDS_MAX {
            let missed = joining.read(since).await?;
            let head = missed.head;
            if !joining.may_hear(head).await? {
                return Err(JoinError::NotAMember);
            }
            joining.replay(since, missed).await?;
            match joining.open(head, greeting(head)) {
                Ok(()) => {
                    joining.done();
                    return Ok(());
                }
                Err(Closed::Expelled) => return Err(JoinError::NotAMember),
                Err(Closed::Behind) => since = Since::Revision(head.revision),
            }
            metrics::counter!("fanlight_room_gate_overflows_total").increment(1);
        }
        Err(JoinError::TooFast)
    }
}

/// A connection that has a seat, which it gives up unless it is done.
struct Joining<'a> {
    rooms: &'a Arc<Inner>,
    mailbox: &'a Arc<Mailbox>,
    live: Arc<Live>,
    seat: SeatId,
    is_done: bool,
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.rooms.leave(self.mailbox.connection, self.live.id);
        }
    }
}

impl<'a> Joining<'a> {
    fn begin(rooms: &'a Arc<Inner>, mailbox: &'a Arc<Mailbox>, room: ChannelId) -> Result<Self, JoinError> {
        rooms.leave(mailbox.connection, room);
        let max = rooms.parts.config.subscriptions_per_connection_max;
        let mut connections = rooms.connections.lock();
        let others = connections.entry(mailbox.connection).or_default();
        if others.len() >= max {
            metrics::counter!("fanlight_room_subscriptions_refused_total").increment(1);
            return Err(JoinError::TooManySubscriptions);
        }
        let (live, seat) = rooms.sit_down(mailbox, room);
        others.insert(room, seat);
        drop(connections);
        Ok(Self { rooms, mailbox, live, seat, is_done: false })
    }

    async fn topic_is_heard(&self) {
        if !self.rooms.parts.health.is_well() {
            return;
        }
        let mut heard = self.live.is_heard.subscribe();
        if timeout(TOPIC_DEADLINE, heard.wait_for(|heard| *heard)).await.is_err() {
            tracing::debug!("a room is joined whose topic is not heard");
        }
    }

    async fn read(&self, since: Since) -> Result<Missed, RoomError> {
        let rooms = self.rooms;
        let (head, seen, last) = match since {
            Since::Now => {
                let head = rooms.head(&self.live).await?;
                return Ok(Missed { head, page: Vec::new(), resync: None });
            }
            Since::Seq(seq) => {
                let limit = rooms.parts.config.replay_page_changes.into();
                let replay = rooms.read(rooms.parts.log.since(self.live.id, seq, limit)).await?;
                let resync = self.cannot_replay(seq, replay.head.seq);
                let page = replay.messages.into_iter().map(|(seq, frame)| (seq, frame.frame)).collect();
                return Ok(Missed { head: replay.head, page, resync });
            }
            Since::Revision(revision) => {
                let head = rooms.head(&self.live).await?;
                (head, revision, head.revision)
            }
        };
        let resync = self.cannot_replay(seen, last);
        let page = if resync.is_some() { Vec::new() } else { self.page(since, seen).await? };
        Ok(Missed { head, page, resync })
    }

    fn cannot_replay(&self, seen: i64, last: i64) -> Option<RoomResyncReason> {
        let max = i64::from(self.rooms.parts.config.replay_changes_max);
        if seen > last {
            Some(RoomResyncReason::AheadOfServer)
        } else if last.saturating_sub(seen) > max {
            Some(RoomResyncReason::TooFarBehind)
        } else {
            None
        }
    }

    /// What comes after `after`, each with what it is counted by.
    async fn page(&self, since: Since, after: i64) -> Result<Vec<(i64, Bytes)>, RoomError> {
        let (rooms, limit) = (self.rooms, self.rooms.parts.config.replay_page_changes.into());
        if matches!(since, Since::Revision(_)) {
            let read = rooms.read(rooms.parts.log.after_revision(self.live.id, after, limit)).await?;
            return Ok(read.into_iter().map(|frame| (frame.revision, frame.frame)).collect());
        }
        let replay = rooms.read(rooms.parts.log.since(self.live.id, after, limit)).await?;
        Ok(replay.messages.into_iter().map(|(seq, frame)| (seq, frame.frame)).collect())
    }

    /// From now on an expulsion after `head` finds the seat; one before it is seen here.
    async fn may_hear(&self, head: Head) -> Result<bool, RoomError> {
        let connection = self.mailbox.connection;
        let is_seated = self.live.room.lock().seats.hold(self.seat, connection, head.revision);
        Ok(is_seated && self.is_member().await?)
    }

    async fn is_member(&self) -> Result<bool, RoomError> {
        let user = self.mailbox.user;
        Ok(self.rooms.members(&self.live, &[user]).await?.contains(&user))
    }

    /// Writes what was missed, up to where the room was when it was first read: what is later comes live.
    async fn replay(&self, since: Since, missed: Missed) -> Result<(), JoinError> {
        let Missed { head, mut page, resync } = missed;
        if let Some(reason) = resync {
            self.mailbox.answer(RoomNotice::resync(self.live.id, reason, head).frame());
            count_resyncs(reason, 1);
            return Ok(());
        }
        let last = if matches!(since, Since::Revision(_)) { head.revision } else { head.seq };
        let limit = usize::try_from(self.rooms.parts.config.replay_page_changes).unwrap_or(usize::MAX);
        loop {
            let is_full = page.len() >= limit;
            let end = page.last().map_or(last, |(number, _)| *number);
            self.write(page.into_iter().filter(|(number, _)| *number <= last)).await?;
            if !is_full || end >= last {
                return Ok(());
            }
            page = self.page(since, end).await?;
            if !self.is_member().await? {
                return Err(JoinError::NotAMember);
            }
        }
    }

    async fn write(&self, frames: impl Iterator<Item = (i64, Bytes)>) -> Result<(), JoinError> {
        let frames: Vec<Bytes> = frames.map(|(_, frame)| frame).collect();
        let _held = self.mailbox.hold(frames.iter().map(Bytes::len).sum());
        let is_written = pacing::write(self.mailbox, &frames, || self.is_seated()).await;
        if is_written { Ok(()) } else { Err(JoinError::NotAMember) }
    }

    fn is_seated(&self) -> bool {
        let is_there = self.live.room.lock().seats.is_taken(self.seat, self.mailbox.connection);
        is_there && !self.mailbox.is_ended()
    }

    fn open(&self, head: Head, greeting: Bytes) -> Result<(), Closed> {
        let seat = (self.seat, self.mailbox.connection);
        let opened = self.live.room.lock().open(seat, self.mailbox, head.revision, greeting);
        self.rooms.wake(&self.live);
        opened
    }

    fn done(mut self) {
        self.is_done = true;
    }
}

impl Inner {
    /// Takes a seat in a room, which comes to life with its first.
    fn sit_down(&self, mailbox: &Arc<Mailbox>, room: ChannelId) -> (Arc<Live>, SeatId) {
        let mut all = self.live.write();
        let is_new = !all.contains_key(&room);
        let live = Arc::clone(all.entry(room).or_insert_with(|| Arc::new(Live::new(room, self.bounds()))));
        let seat = live.room.lock().seats.take(mailbox);
        metrics::gauge!("fanlight_room_subscriptions").increment(1.0);
        metrics::gauge!("fanlight_rooms").set(as_gauge(all.len()));
        drop(all);
        if is_new {
            self.touch(room);
        }
        (live, seat)
    }
}
