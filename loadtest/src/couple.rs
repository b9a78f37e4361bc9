//! Two people, their phones, and what they have changed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fanlight::shutdown::Shutdown;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::ledger::{Answer, Ledger, Side, Topic};
use crate::phone::Phone;
use crate::world::World;

/// Measurements that wait for goose to take them: many seconds' worth.
const SAMPLES_MAX: usize = 4_096;
const POLL: Duration = Duration::from_millis(50);
/// How often the second phone connects anew to land on another node than the first.
const PLACINGS_MAX: usize = 8;
const PLACED_WITHIN: Duration = Duration::from_secs(30);

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct Person {
    pub id: Uuid,
    pub token: String,
    /// Of their phone, at the push service.
    pub fcm_token: String,
}

/// Two people, as the roster has them.
#[derive(Clone, Debug)]
pub struct Pair {
    pub people: [Person; 2],
    /// They were linked through the API by the second, so that the first event of both says so.
    pub told_of_link: bool,
}

/// What a phone should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Here,
    /// Not connected until then, or until it is called back.
    Away(Instant),
    Over,
}

/// The wishes of whoever holds the phone.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    pub presence: Presence,
    /// How often its connection was cut.
    pub cuts: u64,
    /// How many of the events that it has seen it does not remember when it comes back.
    pub forgotten: i64,
    /// It was away at the end of the run, and was called back.
    pub recalled: bool,
}

/// Where a phone is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// How often it has connected; odd while it is.
    pub turns: u64,
    /// The node, where the load balancer names it.
    pub node: Option<String>,
}

impl Place {
    fn is_connected(&self) -> bool {
        self.turns % 2 == 1
    }
}

/// A phone, from outside.
#[derive(Debug)]
pub struct Handle {
    pub orders: watch::Sender<Orders>,
    pub place: watch::Sender<Place>,
}

impl Handle {
    pub fn new() -> Self {
        let orders = Orders { presence: Presence::Here, cuts: 0, forgotten: 0, recalled: false };
        Self { orders: watch::Sender::new(orders), place: watch::Sender::new(Place::default()) }
    }

    pub fn set(&self, presence: Presence) {
        self.orders.send_modify(|orders| orders.presence = presence);
    }

    /// Cuts the connection; the phone comes back at once, without its last `forgotten` events.
    pub fn cut(&self, forgotten: i64) {
        self.orders.send_modify(|orders| {
            orders.cuts += 1;
            orders.forgotten = forgotten;
        });
    }

    /// Calls back a phone that is away.
    pub fn recall(&self) {
        self.orders.send_if_modified(|orders| {
            let is_away = matches!(orders.presence, Presence::Away(_));
            if is_away {
                (orders.presence, orders.recalled) = (Presence::Here, true);
            }
            is_away
        });
    }

    pub fn is_away(&self) -> bool {
        matches!(self.orders.borrow().presence, Presence::Away(_))
    }

    pub fn is_connected(&self) -> bool {
        self.place.borrow().is_connected()
    }

    fn node(&self) -> Option<String> {
        self.place.borrow().node.clone()
    }

    /// Waits until it is connected, after `turns` at least. Returns whether it is.
    pub async fn connected(&self, turns: u64) -> bool {
        let mut place = self.place.subscribe();
        let there = place.wait_for(|place| place.is_connected() && place.turns > turns);
        timeout(PLACED_WITHIN, there).await.is_ok_and(|found| found.is_ok())
    }
}

/// A measurement that goose should report.
#[derive(Clone, Debug)]
pub struct Sample {
    pub method: &'static str,
    pub name: &'static str,
    pub took: Duration,
    pub status: Option<u16>,
    /// What went wrong, if it did.
    pub error: Option<String>,
}

pub struct Couple {
    pub index: u64,
    pub people: [Person; 2],
    pub phones: [Handle; 2],
    pub ledger: Mutex<Ledger>,
    pub samples: mpsc::Sender<Sample>,
    /// Its own tasks: the schedule, and the changes on their way.
    pub changes: Shutdown,
}

impl Couple {
    /// Where a couple's measurements go.
    pub fn samples() -> (mpsc::Sender<Sample>, mpsc::Receiver<Sample>) {
        mpsc::channel(SAMPLES_MAX)
    }

    /// Switches both phones on.
    pub fn begin(world: &Arc<World>, pair: Pair, samples: mpsc::Sender<Sample>) -> Arc<Self> {
        let mut ledger = Ledger::default();
        if pair.told_of_link {
            let number = ledger.begin(Topic::Linked, 1, Instant::now());
            ledger.answered(Topic::Linked, number, Answer::Done, None);
        }
        let couple = Arc::new(Self {
            index: world.couples_begun.fetch_add(1, Ordering::Relaxed),
            people: pair.people,
            phones: [Handle::new(), Handle::new()],
            ledger: Mutex::new(ledger),
            samples,
            changes: Shutdown::new(),
        });
        world.couples.lock().push(Arc::clone(&couple));
        for side in 0..2 {
            world.tasks.spawn("phone", Phone::new(world, &couple, side).run());
        }
        couple
    }

    /// Waits until both are connected, as far as they should be.
    pub async fn connected(&self) -> bool {
        for phone in &self.phones {
            if !phone.is_away() && !phone.connected(0).await {
                return false;
            }
        }
        true
    }

    /// Puts the second phone on another node than the first, where the load balancer says on which they are.
    pub async fn part(&self) {
        for _ in 0..PLACINGS_MAX {
            let [first, second] = [self.phones[0].node(), self.phones[1].node()];
            if first.is_none() || first != second {
                return;
            }
            let turns = self.phones[1].place.borrow().turns;
            self.phones[1].cut(0);
            if !self.phones[1].connected(turns).await {
                return;
            }
        }
    }

    /// Hands a measurement to goose, if its user still takes them.
    pub fn report(&self, world: &World, sample: Sample) {
        if self.samples.try_send(sample).is_err() {
            world.tally.count(|counts| counts.unreported += 1);
        }
    }

    /// Waits until all that was changed is answered and has been seen by who is there, at most `limit`.
    pub async fn settled(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let present: [bool; 2] = [0, 1].map(|side: Side| !self.phones[side].is_away());
            if self.ledger.lock().is_settled(present) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            sleep(POLL).await;
        }
    }
}
