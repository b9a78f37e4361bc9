//! Whose connections to this node came or went since somebody looked.
//!
//! Says who, not what happened: whoever looks sees in the registry how things are now. So it costs a connect an entry here
//! and no more, however often it repeats itself.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::ids::UserId;

/// Of more users at once it is only known that there are some.
const USERS_MAX: usize = 65_536;

/// What there is to look at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turned {
    /// Since when, at the latest.
    pub users: HashMap<UserId, Instant>,
    /// All users may have to be looked at, those who are gone included.
    pub everyone: bool,
    /// Redis may have forgotten what they say of themselves.
    pub forgotten: bool,
}

#[derive(Default)]
pub struct Turnover {
    turned: Mutex<Turned>,
    news: Notify,
}

impl Turnover {
    /// A connection of the user came or went.
    pub fn note(&self, user: UserId) {
        self.note_since(user, Instant::now());
    }

    fn note_since(&self, user: UserId, since: Instant) {
        let mut turned = self.turned.lock();
        if turned.users.len() < USERS_MAX || turned.users.contains_key(&user) {
            turned.users.entry(user).and_modify(|at| *at = (*at).max(since)).or_insert(since);
        } else if !turned.everyone {
            metrics::counter!("fanlight_presence_overflows_total", "queue" => "turnover").increment(1);
            turned.everyone = true;
        }
        drop(turned);
        self.news.notify_one();
    }

    /// What others keep of this node's users may have been lost.
    pub fn note_everyone(&self) {
        self.turned.lock().everyone = true;
        self.news.notify_one();
    }

    /// As [`Turnover::note_everyone`]; Redis, too.
    pub fn note_forgotten(&self) {
        self.turned.lock().forgotten = true;
        self.note_everyone();
    }

    /// Puts back what could not be looked at; what came later counts.
    pub fn put_back(&self, earlier: Turned) {
        let later = self.take();
        for (user, since) in earlier.users.into_iter().chain(later.users) {
            self.note_since(user, since);
        }
        if earlier.forgotten || later.forgotten {
            self.note_forgotten();
        } else if earlier.everyone || later.everyone {
            self.note_everyone();
        }
    }

    /// All since the last time.
    pub fn take(&self) -> Turned {
        std::mem::take(&mut *self.turned.lock())
    }

    /// Waits until there is something, at most so long. Cancel-safe.
    pub async fn wait(&self, at_most: Duration) {
        let _timer = tokio::time::timeout(at_most, self.news.notified()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_put_back_does_not_hide_what_came_later() {
        let (turnover, [one, other]) = (Turnover::default(), [UserId::generate(), UserId::generate()]);
        turnover.note(one);
        turnover.note(other);
        let earlier = turnover.take();
        assert_eq!(turnover.take(), Turned::default());
        tokio::time::sleep(Duration::from_millis(1)).await;
        turnover.note(one);
        let since = turnover.turned.lock().users[&one];
        // As if it came while something was put back.
        turnover.note_since(one, earlier.users[&one]);

        turnover.put_back(Turned { everyone: true, users: earlier.users.clone(), forgotten: false });

        let all = turnover.take();
        assert_eq!((all.users[&one], all.users[&other]), (since, earlier.users[&other]));
        assert!(all.everyone && since > earlier.users[&one]);
        turnover.wait(Duration::from_secs(20)).await;
    }

    #[test]
    fn of_too_many_users_it_is_known_that_there_are_some() {
        let turnover = Turnover::default();
        let first = UserId::generate();
        turnover.note(first);
        for _ in 1..USERS_MAX {
            turnover.note(UserId::generate());
        }
        turnover.note(first);
        assert!(!turnover.turned.lock().everyone);
        turnover.note(UserId::generate());
        let all = turnover.take();
        assert!(all.everyone && all.users.len() == USERS_MAX);
    }
}
