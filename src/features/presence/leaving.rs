//! Who was seen leaving this node, until the grace is over. Whoever comes back before that costs the stores nothing.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::ids::UserId;

#[derive(Default)]
pub struct Leaving {
    since: HashMap<UserId, Instant>,
    /// Also of those who came back, or left once more.
    queue: VecDeque<(Instant, UserId)>,
}

impl Leaving {
    /// The user left; who left before, did so only now.
    pub fn begin(&mut self, user: UserId, since: Instant) {
        self.since.insert(user, since);
        self.queue.push_back((since, user));
    }

    /// The user is about to leave; the grace of who is so already goes on.
    pub fn go_on(&mut self, user: UserId, since: Instant) {
        if !self.contains(user) {
            self.begin(user, since);
        }
    }

    /// The user is back.
    pub fn end(&mut self, user: UserId) {
        self.since.remove(&user);
    }

    pub fn contains(&self, user: UserId) -> bool {
        self.since.contains_key(&user)
    }

    /// How long until somebody's grace is over.
    pub fn next_within(&self, grace: Duration) -> Option<Duration> {
        self.queue.front().map(|(since, _)| grace.saturating_sub(since.elapsed()))
    }

    /// Those who left so long ago, and since when.
    pub fn take(&mut self, grace: Duration) -> Vec<(UserId, Instant)> {
        let mut due = Vec::new();
        while let Some((since, user)) = self.queue.front().copied().filter(|(at, _)| at.elapsed() >= grace) {
            self.queue.pop_front();
            if self.since.get(&user) == Some(&since) {
                self.since.remove(&user);
                due.push((user, since));
            }
        }
        due
    }

    /// As if so much time had gone by.
    #[cfg(test)]
    pub fn let_pass(&mut self, time: Duration) {
        let times = self.since.values_mut().chain(self.queue.iter_mut().map(|(at, _)| at));
        times.for_each(|at| *at = at.checked_sub(time).unwrap());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(15);

    #[test]
    fn only_who_stays_away_is_gone() {
        let (mut leaving, [gone, back, again]) =
            (Leaving::default(), [(), (), ()].map(|()| UserId::generate()));
        assert_eq!(leaving.next_within(GRACE), None);
        let start = Instant::now();
        for user in [gone, back, again] {
            leaving.begin(user, start);
        }
        leaving.end(back);
        leaving.let_pass(GRACE / 2);
        let later = Instant::now();
        leaving.begin(again, later);
        assert!(leaving.next_within(GRACE).unwrap() <= GRACE / 2);
        assert_eq!(leaving.take(GRACE), []);

        leaving.let_pass(GRACE / 2);
        assert_eq!(leaving.take(GRACE).iter().map(|(user, _)| *user).collect::<Vec<_>>(), [gone]);
        assert!(leaving.contains(again) && !leaving.contains(gone) && !leaving.contains(back));
        leaving.let_pass(GRACE / 2);
        assert_eq!(leaving.take(GRACE), [(again, later - GRACE)]);
        assert_eq!(leaving.take(Duration::ZERO), []);
    }

    #[test]
    fn a_grace_that_goes_on_does_not_begin_anew() {
        let (mut leaving, user, start) = (Leaving::default(), UserId::generate(), Instant::now());
        leaving.go_on(user, start);
        leaving.go_on(user, start + GRACE / 2);
        leaving.let_pass(GRACE);
        assert_eq!(leaving.take(GRACE), [(user, start - GRACE)]);
    }
}
