//! A room: its people, their phones, and what was said.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use fanlight::shutdown::Shutdown;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::member::Member;
use super::minutes::Minutes;
use crate::couple::{Handle, Person, Presence, Sample};
use crate::ledger::Answer;
use crate::tally::{Fault, Tally};
use crate::verdict::Changes;
use crate::world::World;

/// What a phone may have to say at once; one more is said by a request.
const WISHES_MAX: usize = 64;
const POLL: Duration = Duration::from_millis(50);

/// What the phone of a member is to say.
#[derive(Clone, Copy, Debug)]
pub enum Wish {
    /// The message of this number.
    Say(usize),
    Type,
}

/// A member's phone, from outside.
pub struct Seat {
    pub handle: Handle,
    pub wishes: mpsc::Sender<Wish>,
    /// It has heard all messages up to this one.
    pub heard: AtomicI64,
}

pub struct Room {
    pub id: Uuid,
    pub people: Vec<Person>,
    pub seats: Vec<Seat>,
    pub minutes: Mutex<Minutes>,
    pub samples: mpsc::Sender<Sample>,
    /// Its own tasks: the talk, and the requests on their way.
    pub changes: Shutdown,
}

impl Room {
    /// Switches all phones on.
    pub fn begin(
        world: &Arc<World>,
        (id, people): (Uuid, Vec<Person>),
        samples: mpsc::Sender<Sample>,
    ) -> Arc<Self> {
        let mut queues = Vec::new();
        let seats = people.iter().map(|_| {
            let (wishes, queue) = mpsc::channel(WISHES_MAX);
            queues.push(queue);
            Seat { handle: Handle::new(), wishes, heard: AtomicI64::new(0) }
        });
        let seats = seats.collect();
        let (minutes, changes) = (Mutex::default(), Shutdown::new());
        let room = Arc::new(Self { id, people, seats, minutes, samples, changes });
        world.rooms.lock().push(Arc::clone(&room));
        for (place, wishes) in queues.into_iter().enumerate() {
            world.tasks.spawn("member", Member::new(world, &room, place, wishes).run());
        }
        room
    }

    /// Waits until all are connected.
    pub async fn connected(&self) -> bool {
        for seat in &self.seats {
            if !seat.handle.connected(0).await {
                return false;
            }
        }
        true
    }

    pub fn report(&self, world: &World, sample: Sample) {
        if self.samples.try_send(sample).is_err() {
            world.tally.count(|counts| counts.unreported += 1);
        }
    }

    /// Whether everything is answered, and everybody has heard it.
    pub fn is_settled(&self) -> bool {
        let minutes = self.minutes.lock();
        let head = minutes.head();
        minutes.is_answered() && self.seats.iter().all(|seat| seat.heard.load(Ordering::Relaxed) >= head)
    }

    pub async fn settled(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while !self.is_settled() {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(POLL).await;
        }
        true
    }

    pub fn is_over(&self) {
        for seat in &self.seats {
            seat.handle.set(Presence::Over);
        }
    }

    /// Compares what was said with what everybody has heard.
    pub fn judge(&self, tally: &Tally) -> Changes {
        let minutes = self.minutes.lock();
        let head = minutes.head();
        for (person, seat) in self.people.iter().zip(&self.seats) {
            let heard = seat.heard.load(Ordering::Relaxed);
            if heard < head {
                tally.fault(Fault::Lost, || {
                    format!("room {}: {} has heard all up to {heard} of {head}", self.id, person.id)
                });
            }
        }
        for _ in 0..minutes.phantoms() {
            tally.fault(Fault::Phantom, || format!("room {}: a message was refused and told", self.id));
        }
        let mut changes = Changes::default();
        for said in minutes.all() {
            *match said.answer {
                Answer::Done => &mut changes.done,
                Answer::Refused => &mut changes.refused,
                Answer::Pending | Answer::Unknown => &mut changes.unknown,
            } += 1;
        }
        changes
    }
}
