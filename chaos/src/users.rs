//! Who takes part: couples with sockets and phones, each with a habit.

use fanlight::dev::people::Person;
use serde::Serialize;

/// How somebody uses their phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Habit {
    /// Always connected, as far as it is up to them: the promptness goals are measured here.
    Steady,
    /// Disconnects again and again, politely or not.
    Roaming,
    /// Stops reading at times, with the socket open.
    Freezing,
    /// Hardly ever connected.
    Absent,
    /// Freezes at some time, and never comes back before the end.
    Stranded,
}

/// Of twenty people, in this order before the shuffle.
const HABITS: [(Habit, usize); 5] =
    [(Habit::Steady, 9), (Habit::Roaming, 4), (Habit::Freezing, 3), (Habit::Absent, 2), (Habit::Stranded, 2)];

#[derive(Clone, Debug)]
pub struct User {
    pub index: usize,
    pub person: Person,
    /// Who they are linked with.
    pub partner: usize,
    pub habit: Habit,
    /// Confirms by `ACK` (`fanlight.v1`), some time later; otherwise by pongs.
    pub acks: bool,
    /// Comes back with `since`. The others get what is not settled.
    pub resumes: bool,
    /// The FCM token of their phone, if they have registered it.
    pub phone: Option<String>,
}

/// Gives each person a place, a partner and a habit.
pub fn cast(people: Vec<Person>, rng: &mut fastrand::Rng) -> Vec<User> {
    let mut habits: Vec<Habit> = HABITS
        .iter()
        .flat_map(|(habit, share)| std::iter::repeat_n(*habit, *share))
        .cycle()
        .take(people.len())
        .collect();
    rng.shuffle(&mut habits);
    let habits = people.into_iter().zip(habits).enumerate();
    habits
        .map(|(index, (person, habit))| User {
            index,
            person,
            partner: partner_of(index),
            habit,
            acks: rng.u8(0..3) == 0,
            resumes: rng.u8(0..8) != 0,
            phone: (rng.u8(0..5) != 0).then(|| format!("phone-{index}")),
        })
        .collect()
}

/// Couples stand side by side.
pub fn partner_of(index: usize) -> usize {
    index ^ 1
}
