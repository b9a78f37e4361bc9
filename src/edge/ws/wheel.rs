//! One timer for all connections of a node.
//!
//! A hashed wheel (Varghese and Lauck, 1987): a slot per tick, in it the connections to wake then. Each has
//! one alarm: setting another makes the former void, so that no connection is woken ever more often. If its
//! deadline has moved when it is woken, it enters again. Early or late by at most one tick, never lost.

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
    slots: Vec<Vec<Alarm>>,
    /// The slot that is woken next.
    next: usize,
}

struct Alarm {
    mailbox: Weak<Mailbox>,
    number: u32,
}

impl Wheel {
    fn new() -> Self {
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        Self(Mutex::new(State { slots, next: 0 }))
    }

    /// Starts to turn.
    pub fn start(shutdown: &Shutdown) -> Arc<Self> {
        let wheel = Arc::new(Self::new());
        shutdown.spawn("ws.wheel", Arc::clone(&wheel).turn(shutdown.clone()));
        wheel
    }

    /// Wakes the connection with a tick at about `deadline`, or earlier if that is far away; and not when it
    /// was to be woken before this call.
    pub fn schedule(&self, mailbox: &Arc<Mailbox>, deadline: Instant) {
        let delay = deadline.saturating_duration_since(Instant::now());
        let ticks = usize::try_from(delay.as_millis() / TICK.as_millis()).unwrap_or(SLOTS);
        let mut state = self.0.lock();
        let slot = (state.next + ticks.min(SLOTS - 1)) % SLOTS;
        let (mailbox, number) = (Arc::downgrade(mailbox), mailbox.set_alarm());
        state.slots[slot].push(Alarm { mailbox, number });
    }

    async fn turn(self: Arc<Self>, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while shutdown.unless_stopped(ticks.tick()).await.is_some() {
            self.turn_once();
        }
    }

    fn turn_once(&self) {
        for alarm in self.take_slot() {
            if let Some(mailbox) = alarm.mailbox.upgrade() {
                mailbox.ring(alarm.number);
            }
        }
    }

    fn take_slot(&self) -> Vec<Alarm> {
        let mut state = self.0.lock();
        let current = state.next;
        state.next = (current + 1) % SLOTS;
        std::mem::take(&mut state.slots[current])
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::delivery::mailbox::Bounds;
    use crate::domain::ids::{SessionId, UserId};

    fn mailbox() -> Arc<Mailbox> {
        let bounds = Bounds { frames_max: 1, bytes_max: 1 };
        Arc::new(Mailbox::new(UserId::generate(), SessionId::generate(), None, bounds))
    }

    /// Turns the wheel as far as this many seconds take, and says after how many ticks it woke the mailbox.
    fn turn(wheel: &Wheel, mailbox: &Mailbox, seconds: usize) -> Vec<usize> {
        let woke = |_: &usize| {
            wheel.turn_once();
            mailbox.collect().now_or_never().is_some_and(|mail| mail.tick)
        };
        (1..=seconds * 10).filter(woke).collect()
    }

    #[test]
    fn a_connection_is_woken_once_however_often_its_deadline_moved() {
        let (wheel, mailbox, now) = (Wheel::new(), mailbox(), Instant::now());
        for seconds in [3, 30, 2, 5] {
            wheel.schedule(&mailbox, now + Duration::from_secs(seconds));
        }

        let woken = turn(&wheel, &mailbox, 70);

        assert!(matches!(woken[..], [50 | 51]), "{woken:?}");
    }

    #[test]
    fn a_deadline_beyond_the_wheel_is_looked_at_on_the_way() {
        let (wheel, mailbox) = (Wheel::new(), mailbox());
        wheel.schedule(&mailbox, Instant::now() + Duration::from_secs(900));

        assert_eq!(turn(&wheel, &mailbox, 60), [SLOTS]);
    }

    #[test]
    fn a_connection_that_ended_leaves_nothing_behind() {
        let wheel = Wheel::new();
        wheel.schedule(&mailbox(), Instant::now() + Duration::from_secs(1));

        (0..SLOTS).for_each(|_| wheel.turn_once());

        assert!(wheel.0.lock().slots.iter().all(Vec::is_empty));
    }
}
