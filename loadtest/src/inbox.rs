//! What a phone does with an event: finds the change that it tells of, and takes the time.

use std::sync::Arc;

use tokio::time::Instant;

use crate::couple::{Couple, Sample};
use crate::frame::Event;
use crate::ledger::{Arrival, Change, Oddity, Side, Topic, number_of};
use crate::sight::{Look, Sighting};
use crate::tally::{Fault, Span};
use crate::world::World;

/// How the connection that brings an event came about.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    /// The phone was away by its own choice up to then: what was due before is not late.
    pub back_at: Option<Instant>,
    /// It was called back after the run.
    pub recalled: bool,
}

pub struct Inbox {
    world: Arc<World>,
    couple: Arc<Couple>,
    side: Side,
    /// Counts, per topic, what was shown: only a status says which change it tells of.
    shown: [usize; 3],
}

impl Inbox {
    pub fn new(world: &Arc<World>, couple: &Arc<Couple>, side: Side) -> Self {
        Self { world: Arc::clone(world), couple: Arc::clone(couple), side, shown: [0; 3] }
    }

    pub fn take(&mut self, seq: i64, event: &Event, sighting: Sighting, since: Since) {
        if !sighting.in_order {
            self.fault(Fault::Disorder, seq, event);
        }
        match sighting.look {
            Look::New => {}
            Look::Repeat => return self.world.tally.count(|counts| counts.repeats += 1),
            Look::Duplicate => return self.fault(Fault::Duplicate, seq, event),
        }
        let Some((topic, number, actor)) = self.change_of(event) else {
            return self.fault(Fault::Phantom, seq, event);
        };
        let arrival = if since.recalled { Arrival::Recalled(seq) } else { Arrival::Shown };
        let node = self.couple.phones[self.side].place.borrow().node.clone();
        let noted =
            self.couple.ledger.lock().arrived(topic, number, self.side, arrival, node.as_deref()).cloned();
        match noted {
            Ok(change) if actor.is_some_and(|actor| actor != change.actor) => {
                self.fault(Fault::Phantom, seq, event);
            }
            Ok(change) => self.time(&change, since.back_at),
            Err(Oddity::Unknown) => self.fault(Fault::Phantom, seq, event),
            Err(Oddity::ToldTwice) => self.fault(Fault::Duplicate, seq, event),
        }
    }

    /// The change that an event tells of, by its topic and number, and who made it if the event says so.
    fn change_of(&mut self, event: &Event) -> Option<(Topic, usize, Option<Side>)> {
        let (side, people) = (self.side, &self.couple.people);
        let is_of_partner = event.partner_id == Some(people[1 - side].id);
        let topic = match event.r#type.as_str() {
            "SELF_STATUS_CHANGED" if event.user_id == Some(people[side].id) => {
                return Some((Topic::Status, number_of(event)?, Some(side)));
            }
            "PARTNER_STATUS_CHANGED" if is_of_partner => {
                return Some((Topic::Status, number_of(event)?, Some(1 - side)));
            }
            "PARTNER_LINKED" if is_of_partner => Topic::Linked,
            "PARTNER_UNLINKED" if is_of_partner => Topic::Unlinked,
            _ => return None,
        };
        let number = self.shown[topic as usize];
        self.shown[topic as usize] += 1;
        Some((topic, number, None))
    }

    fn time(&self, change: &Change, back_at: Option<Instant>) {
        let took = change.due.elapsed();
        let (span, name) = match back_at {
            Some(back_at) if change.due < back_at => (Span::CatchUp, "catch-up"),
            _ if change.actor == self.side => (Span::OwnFrame, "own frame"),
            _ => (Span::Delivery, "delivery"),
        };
        self.world.tally.time(span, took);
        self.couple.report(&self.world, Sample { method: "WS", name, took, status: None, error: None });
    }

    fn fault(&self, fault: Fault, seq: i64, event: &Event) {
        let who = self.couple.people[self.side].id;
        self.world.tally.fault(fault, || format!("{who} seq {seq} ({})", event.r#type));
    }
}
