//! What waits to be written to one connection.
//!
//! Whoever has something for a connection leaves it here and wakes the connection's one task. The queue is
//! bounded in frames and bytes; a connection that does not keep up is closed, and resumes from Postgres.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::task::Poll;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::domain::ids::{ConnectionId, NodeId, SessionId, UserId};
use crate::ports::presence::Entry;

/// How much may wait for one connection.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub frames_max: usize,
    pub bytes_max: usize,
}

/// Why we end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Farewell {
    /// The node stops.
    Leaving,
    /// The session was revoked.
    Revoked,
    /// A newer connection of the same device took over.
    Replaced,
    /// The queue is full.
    SlowConsumer,
}

/// A durable event's frame, and its place in the user's sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    pub seq: i64,
    pub frame: Bytes,
}

/// All that came since the last look.
#[derive(Debug, Default)]
pub struct Mail {
    pub events: VecDeque<Numbered>,
    /// A seq that exists, although its event may not be among `events`.
    pub newest_seq: i64,
    /// A deadline of this connection may have passed.
    pub tick: bool,
    pub farewell: Option<Farewell>,
}

/// One connection, as the rest of the node sees it.
pub struct Mailbox {
    pub connection: ConnectionId,
    pub user: UserId,
    pub session: SessionId,
    /// What the client calls its device, if it said.
    pub device: Option<String>,
    bounds: Bounds,
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
    bytes: usize,
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
            sent_seq: AtomicI64::new(0),
            alarm: AtomicU32::new(0),
            state: Mutex::default(),
            waker: AtomicWaker::new(),
        }
    }

    /// Leaves an event. A full queue ends the connection instead.
    pub fn offer(&self, event: Numbered) {
        // Routed twice: nobody would collect it before the next event comes.
        if event.seq <= self.sent_seq() {
            return;
        }
        self.update(|state| {
            let mail = &mut state.mail;
            mail.newest_seq = mail.newest_seq.max(event.seq);
            let fits = mail.events.len() < self.bounds.frames_max
                && state.bytes + event.frame.len() <= self.bounds.bytes_max;
            if fits {
                state.bytes += event.frame.len();
                mail.events.push_back(event);
            } else {
                mail.farewell.get_or_insert(Farewell::SlowConsumer);
                metrics::counter!("fanlight_mailbox_overflows_total").increment(1);
            }
        });
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

    /// Ends the connection; the first reason counts.
    pub fn close(&self, reason: Farewell) {
        self.update(|state| {
            state.mail.farewell.get_or_insert(reason);
        });
    }

    /// Takes what came. Cancel-safe: takes nothing unless it returns.
    pub async fn collect(&self) -> Mail {
        poll_fn(|context| {
            self.waker.register(context.waker());
            let mut state = self.state.lock();
            let mail = &state.mail;
            if mail.tick || mail.farewell.is_some() || mail.newest_seq > self.sent_seq() {
                Poll::Ready(std::mem::take(&mut *state).mail)
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

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.waker.wake();
    }
}
