//! What waits to be written to one connection.
//!
//! Whoever has something for a connection leaves it here and wakes the connection's one task. The queue is
//! bounded in frames and bytes, and all queues of a node together by its budget ([`Share`]). Of a state only the newest
//! is kept; in a queue that is half full, what is worth telling only now finds no place; a connection whose
//! queue is full is closed, and resumes from Postgres.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::task::Poll;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::delivery::budget::{Held, Share};
pub use crate::delivery::mail::{Farewell, Mail, Notice, NoticeKind, Numbered};
use crate::domain::ids::{ConnectionId, NodeId, SessionId, UserId};
use crate::ports::presence::Entry;

/// How much may wait for one connection.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub frames_max: usize,
    pub bytes_max: usize,
}

/// One connection, as the rest of the node sees it.
pub struct Mailbox {
    pub connection: ConnectionId,
    pub user: UserId,
    pub session: SessionId,
    /// What the client calls its device, if it said.
    pub device: Option<String>,
    bounds: Bounds,
    share: Arc<Share>,
    /// The highest seq written to the socket.
    sent_seq: AtomicI64,
    /// The one alarm that counts; whoever sets another makes the former void.
    alarm: AtomicU32,
    state: Mutex<State>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct State {
    mail: Mail,
    /// Of all frames in `mail`; taken from the budget.
    bytes: usize,
}

impl State {
    fn frames(&self) -> usize {
        self.mail.events.len() + self.mail.notices.len()
    }
}

impl Mailbox {
    #[must_use]
    pub fn new(user: UserId, session: SessionId, device: Option<String>, bounds: Bounds) -> Self {
        Self {
            connection: ConnectionId::generate(),
            user,
            session,
            device,
            bounds,
            share: Arc::default(),
            sent_seq: AtomicI64::new(0),
            alarm: AtomicU32::new(0),
            state: Mutex::default(),
            waker: AtomicWaker::new(),
        }
    }

    /// As part of a node, whose connections share a budget.
    #[must_use]
    pub fn within(self, share: Arc<Share>) -> Self {
        Self { share, ..self }
    }

    /// Leaves an event. A full queue ends the connection instead. Without memory on this node the connection
    /// only hears that the event exists, and reads it from Postgres.
    pub fn offer(&self, event: Numbered) {
        // Routed twice: nobody would collect it before the next event comes.
        if event.seq <= self.sent_seq() {
            return;
        }
        self.update(|state| {
            state.mail.newest_seq = state.mail.newest_seq.max(event.seq);
            if self.has_room(state, 1, event.frame.len()) && self.reserve(state, event.frame.len()) {
                state.mail.events.push_back(event);
            }
        });
    }

    /// Leaves a notice, if there is a place for its kind. Returns whether there was.
    pub fn notify(&self, notice: Notice) -> bool {
        self.update(|state| {
            let bytes = notice.frame.len();
            match notice.kind {
                NoticeKind::State { .. } => {
                    if let Some(at) = state.mail.notices.iter().position(|other| other.kind == notice.kind) {
                        let void = state.mail.notices.remove(at).map_or(0, |notice| notice.frame.len());
                        self.free(state, void);
                    }
                }
                NoticeKind::Ephemeral if self.is_half_full(state) => {
                    metrics::counter!("fanlight_mailbox_notices_dropped_total").increment(1);
                    return false;
                }
                NoticeKind::Ephemeral | NoticeKind::Lasting => {}
            }
            let is_left = self.has_room(state, 1, bytes) && self.reserve(state, bytes);
            if is_left {
                state.mail.notices.push_back(notice);
            }
            is_left
        })
    }

    /// Leaves frames that follow each other: all of them, or none because this node has no memory for them now. Then the
    /// answer is false, and somebody has to come again. A full queue ends the connection, and that is an answer, too.
    #[must_use]
    pub fn leave<'a>(&self, frames: impl ExactSizeIterator<Item = &'a Bytes> + Clone) -> bool {
        self.update(|state| {
            let bytes = frames.clone().map(Bytes::len).sum();
            if !self.has_room(state, frames.len(), bytes) {
                return true;
            }
            let reserved = self.reserve(state, bytes);
            if reserved {
                state.mail.notices.extend(frames.cloned().map(Notice::lasting));
            }
            reserved
        })
    }

    /// Leaves the answer to what the client said, even if that takes more memory than this node should.
    pub fn answer(&self, frame: Bytes) {
        self.update(|state| {
            let bytes = frame.len();
            if self.has_room(state, 1, bytes) {
                self.share.take(bytes);
                state.bytes += bytes;
                state.mail.notices.push_back(Notice::lasting(frame));
            }
        });
    }

    /// Whether the queue takes so much more. If not, this is the end of the connection.
    fn has_room(&self, state: &mut State, frames: usize, bytes: usize) -> bool {
        if state.mail.farewell.is_some() {
            return false;
        }
        let fits =
            state.frames() + frames <= self.bounds.frames_max && state.bytes + bytes <= self.bounds.bytes_max;
        if !fits {
            metrics::counter!("fanlight_mailbox_overflows_total").increment(1);
            self.end(state, Farewell::SlowConsumer);
        }
        fits
    }

    fn is_half_full(&self, state: &State) -> bool {
        state.frames() * 2 >= self.bounds.frames_max || state.bytes * 2 >= self.bounds.bytes_max
    }

    fn reserve(&self, state: &mut State, bytes: usize) -> bool {
        let reserved = self.share.try_take(bytes);
        if reserved {
            state.bytes += bytes;
        } else {
            metrics::counter!("fanlight_budget_deferrals_total").increment(1);
        }
        reserved
    }

    fn free(&self, state: &mut State, bytes: usize) {
        state.bytes -= bytes;
        self.share.give_back(bytes);
    }

    /// The first reason counts. What waits is given up: the client gets it when it resumes.
    fn end(&self, state: &mut State, reason: Farewell) -> bool {
        if state.mail.farewell.is_some() {
            return false;
        }
        state.mail.farewell = Some(reason);
        (state.mail.events, state.mail.notices) = Default::default();
        self.free(state, state.bytes);
        true
    }

    /// Counts bytes that the connection's task has in hand, until the answer is dropped.
    pub fn hold(&self, bytes: usize) -> Held {
        self.share.hold(bytes)
    }

    /// The memory that this connection takes from the node's budget.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.share.bytes()
    }

    /// Says that an event with this seq exists; the connection reads from Postgres what it lacks.
    pub fn hint(&self, seq: i64) {
        self.update(|state| state.mail.newest_seq = state.mail.newest_seq.max(seq));
    }

    /// Makes a new alarm the one that counts, and returns it for [`Mailbox::ring`].
    pub fn set_alarm(&self) -> u32 {
        self.alarm.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// The time of an alarm has come: wakes the connection if no other was set after it.
    pub fn ring(&self, alarm: u32) {
        if self.alarm.load(Ordering::Relaxed) == alarm {
            self.update(|state| state.mail.tick = true);
        }
    }

    /// Ends the connection; the first reason counts. Returns whether this is the first.
    pub fn close(&self, reason: Farewell) -> bool {
        self.update(|state| self.end(state, reason))
    }

    /// Whether nothing more will be written.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.state.lock().mail.farewell.is_some()
    }

    /// Takes what came. Cancel-safe: takes nothing unless it returns.
    pub async fn collect(&self) -> Mail {
        poll_fn(|context| {
            self.waker.register(context.waker());
            let mut state = self.state.lock();
            let mail = &state.mail;
            let is_news = mail.newest_seq > self.sent_seq() || !mail.notices.is_empty();
            if mail.tick || mail.farewell.is_some() || is_news {
                let bytes = state.bytes;
                self.free(&mut state, bytes);
                Poll::Ready(std::mem::take(&mut state.mail))
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// As [`Mailbox::collect`], but wakes only when the connection must end. For the time of a stalled write.
    pub async fn dismissed(&self) -> Farewell {
        poll_fn(|context| {
            self.waker.register(context.waker());
            self.state.lock().mail.farewell.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    #[must_use]
    pub fn sent_seq(&self) -> i64 {
        self.sent_seq.load(Ordering::Relaxed)
    }

    /// Records what was written to the socket; only the connection's own task does.
    pub fn set_sent_seq(&self, seq: i64) {
        self.sent_seq.store(seq, Ordering::Relaxed);
    }

    /// This connection, as presence knows it.
    #[must_use]
    pub fn entry(&self, node: NodeId) -> Entry {
        Entry { user: self.user, connection: self.connection, node }
    }

    fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state.lock());
        self.waker.wake();
        changed
    }
}
