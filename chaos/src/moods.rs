//! What a client does at which moment: its habit, played out from the seed.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::Phase;
use crate::users::Habit;

/// Nothing is planned.
const NEVER: Duration = Duration::from_hours(24);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Reads,
    /// The socket stays open, and nothing is read.
    Frozen,
    /// Closes as a client should.
    Leaves,
    /// Is gone without a word.
    Vanishes,
}

pub struct Moods {
    habit: Habit,
    rng: fastrand::Rng,
    mood: Mood,
    /// When the mood changes next.
    change_at: Instant,
    /// When somebody who is away comes back.
    back_at: Instant,
}

impl Moods {
    pub fn new(habit: Habit, mut rng: fastrand::Rng, storm: Duration) -> Self {
        let now = Instant::now();
        let back_at = match habit {
            Habit::Absent => now + storm.mul_f64(rng.f64()) / 2,
            _ => now,
        };
        // Within the last minutes: what is missed meanwhile must fit into one replay.
        let strands_within = storm.min(Duration::from_mins(5));
        let change_at = match habit {
            Habit::Stranded => now + storm - strands_within.mul_f64(rng.f64()),
            _ => now + NEVER,
        };
        Self { habit, rng, mood: Mood::Reads, change_at, back_at }
    }

    /// Until when this client does not connect; `None`: it should be connected.
    pub fn away_until(&mut self, phase: Phase) -> Option<Instant> {
        let stays_away = match (self.habit, phase) {
            (Habit::Absent, Phase::Storm) => Instant::now() < self.back_at,
            (Habit::Absent, Phase::Calm) => true,
            (Habit::Stranded, Phase::Storm | Phase::Calm) => self.mood == Mood::Frozen,
            _ => false,
        };
        let until = if phase == Phase::Storm && self.habit == Habit::Absent {
            self.back_at
        } else {
            Instant::now() + NEVER
        };
        stays_away.then_some(until)
    }

    /// A connection stands.
    pub fn connected(&mut self) {
        let now = Instant::now();
        match self.habit {
            Habit::Roaming => {
                self.mood = Mood::Reads;
                self.change_at = now + self.seconds(1.0, 12.0);
            }
            Habit::Freezing => {
                self.mood = Mood::Reads;
                self.change_at = now + self.seconds(2.0, 15.0);
            }
            Habit::Absent => {
                self.mood = Mood::Reads;
                self.change_at = now + self.seconds(1.0, 5.0);
                self.back_at = self.change_at + self.seconds(30.0, 120.0);
            }
            Habit::Steady | Habit::Stranded => {}
        }
    }

    /// What to do now; moves on when the time has come.
    pub fn now(&mut self, phase: Phase) -> Mood {
        let keeps_habit = match self.habit {
            // It is never heard of again before the recall.
            Habit::Stranded | Habit::Absent => phase < Phase::Recall,
            _ => phase == Phase::Storm,
        };
        if !keeps_habit {
            self.change_at = Instant::now() + NEVER;
            self.mood = Mood::Reads;
        } else if Instant::now() >= self.change_at || (phase == Phase::Calm && self.habit == Habit::Absent) {
            self.turn();
        }
        self.mood
    }

    pub fn next_change(&self) -> Instant {
        self.change_at
    }

    fn turn(&mut self) {
        let (mood, lasts) = match (self.habit, self.mood) {
            (Habit::Roaming | Habit::Absent, _) => {
                (if self.rng.bool() { Mood::Leaves } else { Mood::Vanishes }, NEVER)
            }
            (Habit::Freezing, Mood::Reads) => (Mood::Frozen, self.seconds(1.0, 12.0)),
            (Habit::Freezing, _) => (Mood::Reads, self.seconds(2.0, 15.0)),
            (Habit::Stranded, _) => (Mood::Frozen, NEVER),
            (Habit::Steady, mood) => (mood, NEVER),
        };
        self.mood = mood;
        self.change_at = Instant::now() + lasts;
    }

    fn seconds(&mut self, from: f64, to: f64) -> Duration {
        Duration::from_secs_f64(from + self.rng.f64() * (to - from))
    }
}
