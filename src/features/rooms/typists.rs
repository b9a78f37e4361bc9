//! Who is typing where, as the connections of this node say: told seldom, and forgotten soon.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::ids::{ChannelId, ConnectionId, UserId};

/// So often the others are told that the same person is typing.
pub const TOLD_EVERY: Duration = Duration::from_secs(3);
/// Who has not said so for this long is not typing any more.
pub const LAPSES_AFTER: Duration = Duration::from_secs(6);

/// Somebody in a room.
pub type Place = (ChannelId, UserId);

struct Typist {
    connection: ConnectionId,
    told_at: Instant,
    /// `None`: stopped. Kept, so that starting and stopping is not told more often.
    lapses_at: Option<Instant>,
}

impl Typist {
    fn is_told(&self, now: Instant) -> bool {
        now < self.told_at + TOLD_EVERY
    }
}

pub struct Typists {
    max: usize,
    all: HashMap<Place, Typist>,
}

impl Typists {
    /// At most `max` at once; more are not told of.
    pub fn new(max: usize) -> Self {
        Self { max, all: HashMap::new() }
    }

    /// Somebody says so. Returns whether the others were told of it a moment ago, so that there is nothing to do.
    pub fn goes_on(&mut self, place: Place, now: Instant) -> bool {
        let Some(typist) = self.all.get_mut(&place).filter(|typist| typist.is_told(now)) else {
            return false;
        };
        if typist.lapses_at.is_some() {
            typist.lapses_at = Some(now + LAPSES_AFTER);
        }
        true
    }

    /// The others are to be told. False: too many are typing on this node.
    pub fn begin(&mut self, place: Place, connection: ConnectionId, now: Instant) -> bool {
        if self.all.len() >= self.max && !self.all.contains_key(&place) {
            return false;
        }
        let lapses_at = Some(now + LAPSES_AFTER);
        self.all.insert(place, Typist { connection, told_at: now, lapses_at });
        true
    }

    /// Returns whether the others think otherwise.
    pub fn end(&mut self, place: Place) -> bool {
        self.all.get_mut(&place).is_some_and(|typist| typist.lapses_at.take().is_some())
    }

    /// Those who were typing on this connection, which has ended.
    pub fn end_all(&mut self, connection: ConnectionId) -> Vec<Place> {
        self.stop(|typist| typist.connection == connection)
    }

    /// Those who have not said for long that they are typing.
    pub fn lapse(&mut self, now: Instant) -> Vec<Place> {
        let lapsed = self.stop(|typist| typist.lapses_at.is_some_and(|at| at <= now));
        self.all.retain(|_, typist| typist.lapses_at.is_some() || typist.is_told(now));
        lapsed
    }

    fn stop(&mut self, whom: impl Fn(&Typist) -> bool) -> Vec<Place> {
        let concerned = self.all.iter_mut().filter(|(_, typist)| whom(typist));
        concerned.filter_map(|(place, typist)| typist.lapses_at.take().map(|_| *place)).collect()
    }

    /// Whether nobody has to be looked after.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn place() -> Place {
        (ChannelId::generate(), UserId::generate())
    }

    #[test]
    fn the_others_are_told_once_in_three_seconds() {
        let (mut typists, place, start) = (Typists::new(9), place(), Instant::now());
        let connection = ConnectionId::generate();
        assert!(!typists.goes_on(place, start));
        assert!(typists.begin(place, connection, start));
        assert!(typists.goes_on(place, start + SECOND * 2));
        assert!(!typists.goes_on(place, start + SECOND * 3));
        assert!(typists.begin(place, connection, start + SECOND * 3));

        assert!(typists.end(place));
        assert!(!typists.end(place), "they know already");
        assert!(typists.goes_on(place, start + SECOND * 4), "starting and stopping is no way around it");
        assert!(!typists.end(place), "and nobody was told that it began again");
        assert!(!typists.goes_on(place, start + SECOND * 6));
    }

    #[test]
    fn who_says_nothing_for_six_seconds_is_not_typing() {
        let (mut typists, place, start) = (Typists::new(9), place(), Instant::now());
        typists.begin(place, ConnectionId::generate(), start);
        assert!(typists.goes_on(place, start + SECOND));
        assert_eq!(typists.lapse(start + SECOND * 6), []);
        assert_eq!(typists.lapse(start + SECOND * 7), [place]);
        assert_eq!(typists.lapse(start + SECOND * 8), []);
        assert!(typists.is_empty());
    }

    #[test]
    fn an_ended_connection_types_no_more() {
        let (mut typists, [one, other], now) = (Typists::new(9), [place(), place()], Instant::now());
        let connection = ConnectionId::generate();
        typists.begin(one, connection, now);
        typists.begin(other, ConnectionId::generate(), now);
        assert_eq!(typists.end_all(connection), [one]);
        assert_eq!(typists.end_all(connection), []);
    }

    #[test]
    fn of_too_many_typists_nobody_is_told() {
        let (mut typists, [one, other], now) = (Typists::new(1), [place(), place()], Instant::now());
        assert!(typists.begin(one, ConnectionId::generate(), now));
        assert!(!typists.begin(other, ConnectionId::generate(), now));
        assert!(typists.begin(one, ConnectionId::generate(), now));
    }
}
