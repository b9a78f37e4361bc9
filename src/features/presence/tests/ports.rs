//! Ports that tests have in their hands: a Redis with moods, a broker that loses what it should, and no phones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use crate::delivery::membership::Control;
use crate::domain::ids::{NodeId, UserId};
use crate::domain::standing::Standing;
use crate::ports::broker::{Broker, BrokerError, Envelope, Listener, MemoryBroker, Reach};
use crate::ports::presence::marks::{Found, Mark, Marks, MemoryMarks, Silent};
use crate::ports::presence::{Entry, PresenceError};

/// A Redis that may be away, and knows what to say of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    Away,
    /// After so many more batches of marks it takes none.
    Tired(usize),
    /// It lost its memory a moment ago.
    Doubtful,
}

pub struct Moody {
    pub marks: MemoryMarks,
    /// How many users were asked for.
    pub asked: AtomicUsize,
    pub mood: Arc<Mutex<Mood>>,
    /// How many marks were in each batch that was taken.
    pub batches: Mutex<Vec<usize>>,
    /// What happens between the next question and its answer.
    pub meanwhile: Mutex<Option<BoxFuture<'static, ()>>>,
}

fn away<T>() -> Result<T, PresenceError> {
    Err(PresenceError::Unavailable("a test says so".into()))
}

#[async_trait]
impl Marks for Moody {
    async fn set(&self, marks: &[(Entry, Mark)]) -> Result<(), PresenceError> {
        match &mut *self.mood.lock() {
            Mood::Away | Mood::Tired(0) => return away(),
            Mood::Tired(left) => *left -= 1,
            Mood::Well | Mood::Doubtful => {}
        }
        if !marks.is_empty() {
            self.batches.lock().push(marks.len());
        }
        self.marks.set(marks).await
    }

    async fn linger(&self, node: NodeId, users: &[(UserId, Duration)]) -> Result<(), PresenceError> {
        if *self.mood.lock() == Mood::Away { away() } else { self.marks.linger(node, users).await }
    }

    async fn find(&self, asker: NodeId, users: &[UserId]) -> Result<Vec<Found>, PresenceError> {
        let mood = *self.mood.lock();
        self.asked.fetch_add(users.len(), Ordering::SeqCst);
        let meanwhile = self.meanwhile.lock().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile.await;
        }
        match mood {
            Mood::Well | Mood::Tired(_) => self.marks.find(asker, users).await,
            Mood::Away => away(),
            Mood::Doubtful => {
                let nothing = |user: &UserId| Found { user: *user, devices: Vec::new(), is_certain: false };
                Ok(users.iter().map(nothing).collect())
            }
        }
    }

    async fn silent(&self, nodes: &[NodeId]) -> Result<Vec<Silent>, PresenceError> {
        if *self.mood.lock() == Mood::Well { self.marks.silent(nodes).await } else { away() }
    }
}

/// Loses what it is told to lose; keeps what was said of all transitions.
pub struct Recorder {
    pub broker: MemoryBroker,
    pub loses: Arc<AtomicBool>,
    pub said: Arc<Mutex<Vec<Standing>>>,
}

#[async_trait]
impl Broker for Recorder {
    async fn route(&self, batch: &[Envelope]) -> Result<Vec<Reach>, BrokerError> {
        self.broker.route(batch).await
    }

    async fn broadcast(&self, message: Bytes) -> Result<(), BrokerError> {
        if let Ok(Control::PresenceChanged { standings }) = serde_json::from_slice(&message) {
            self.said.lock().extend(standings);
        }
        if self.loses.load(Ordering::SeqCst) { Ok(()) } else { self.broker.broadcast(message).await }
    }

    async fn listen(&self, listener: Listener) {
        self.broker.listen(listener).await;
    }

    async fn probe(&self) -> Result<(), BrokerError> {
        self.broker.probe().await
    }
}
