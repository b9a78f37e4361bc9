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

    /// Switches all phones off.
    pub fn end(&self) {
        for seat in &self.seats {
            seat.handle.set(Presence::Over);
        }
    }

    /// Compares what was said with what everybody has heard.
    pub fn judge(&self, tally: &Tally) -> Changes {
        let minutes = self.minutes.lock();
        let head = minutes.head();
        for (person, seat) in self.people.iter().zip(&self.seats) {
            let up_to = seat.heard.load(Ordering::Relaxed);
            if up_to < head {
                tally.fault(Fault::Lost, || {
                    format!("room {}: {} has heard all up to {up_to} of {head}", self.id, person.id)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_heard_everything_has_lost_something() {
        let seat =
            |heard| Seat { handle: Handle::new(), wishes: mpsc::channel(1).0, heard: AtomicI64::new(heard) };
        let person =
            |number| Person { id: Uuid::from_u128(number), token: String::new(), fcm_token: String::new() };
        let mut room = Room {
            id: Uuid::nil(),
            people: [1, 2].map(person).into(),
            seats: [1, 0].map(seat).into(),
            minutes: Mutex::default(),
            samples: mpsc::channel(1).0,
            changes: Shutdown::new(),
        };
        room.minutes.get_mut().begin(0, Instant::now());
        assert!(!room.is_settled(), "it is not answered");
        room.minutes.get_mut().answered(0, Answer::Done, Some(1)).unwrap();
        assert!(!room.is_settled(), "the second has not heard it");

        let tally = Tally::default();
        assert_eq!(room.judge(&tally), Changes { done: 1, ..Changes::default() });
        assert_eq!(tally.take().faulty(Fault::Lost), 1);

        room.seats[1].heard.store(1, Ordering::Relaxed);
        assert!(room.is_settled());
        room.judge(&tally);
        assert_eq!(tally.take().faulty(Fault::Lost), 0);
    }
}
