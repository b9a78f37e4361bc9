//! One timer for all connections of a node.
//!
//! A hashed wheel (Varghese and Lauck, 1987): a slot per tick, in it the connections to wake then. A
//! connection stands in it once; if its deadline has moved when it is woken, it enters again. Late by at
//! most one tick, never lost.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior};

use crate::delivery::mailbox::Mailbox;
use crate::shutdown::Shutdown;

const TICK: Duration = Duration::from_millis(100);
/// Deadlines further away than this many ticks are looked at on the way.
const SLOTS: usize = 600;

pub struct Wheel(Mutex<State>);

struct State {
    slots: Vec<Vec<Weak<Mailbox>>>,
    /// The slot that is woken next.
    next: usize,
}

impl Wheel {
    /// Starts to turn.
    pub fn start(shutdown: &Shutdown) -> Arc<Self> {
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        let wheel = Arc::new(Self(Mutex::new(State { slots, next: 0 })));
        shutdown.spawn("ws.wheel", Arc::clone(&wheel).turn(shutdown.clone()));
        wheel
    }

    /// Wakes the connection with a tick at about `deadline`, or earlier if that is far away.
    pub fn schedule(&self, mailbox: &Arc<Mailbox>, deadline: Instant) {
        let delay = deadline.saturating_duration_since(Instant::now());
        let ticks = usize::try_from(delay.as_millis() / TICK.as_millis()).unwrap_or(SLOTS);
        let mut state = self.0.lock();
        let slot = (state.next + ticks.min(SLOTS - 1)) % SLOTS;
        state.slots[slot].push(Arc::downgrade(mailbox));
    }

    async fn turn(self: Arc<Self>, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while shutdown.unless_stopped(ticks.tick()).await.is_some() {
            for mailbox in self.take_slot().iter().filter_map(Weak::upgrade) {
                mailbox.tick();
            }
        }
    }

    fn take_slot(&self) -> Vec<Weak<Mailbox>> {
        let mut state = self.0.lock();
        let current = state.next;
        state.next = (current + 1) % SLOTS;
        std::mem::take(&mut state.slots[current])
    }
}
