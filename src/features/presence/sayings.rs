//! What connections of this node say of themselves: that nobody looks at them, or which conversation they show.
//!
//! Only those that have said something are known here. What they say is written where the other nodes find it, a batch at
//! a time; of what a connection says meanwhile, only the last.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::delivery::mailbox::Mailbox;
use crate::domain::ids::{ConnectionId, NodeId, UserId};
use crate::ports::presence::Entry;
use crate::ports::presence::marks::Mark;

/// Of more connections that have ended and are still to be removed from the store, none is remembered.
const ENDED_MAX: usize = 10_000;

#[derive(Default)]
pub struct Sayings(Mutex<State>);

#[derive(Default)]
struct State {
    marks: HashMap<UserId, HashMap<ConnectionId, Mark>>,
    /// Not written yet.
    pending: HashMap<ConnectionId, (UserId, Mark)>,
    /// Who said that somebody looks, or nobody, and nothing was done about it yet.
    spoken: HashSet<UserId>,
}

/// What is new.
#[derive(Debug, Default)]
pub struct News {
    pub marks: Vec<(Entry, Mark)>,
    /// Who may be away now, or not any more, by what a device said and not because one is gone.
    pub spoken: HashSet<UserId>,
}

impl Sayings {
    /// The connection says something.
    pub fn change(&self, mailbox: &Arc<Mailbox>, change: impl FnOnce(&mut Mark)) {
        let state = &mut *self.0.lock();
        let marks = state.marks.entry(mailbox.user).or_default();
        let before = marks.get(&mailbox.connection).copied().unwrap_or_default();
        let mut mark = before;
        change(&mut mark);
        if mark != before {
            marks.insert(mailbox.connection, mark);
            state.pending.insert(mailbox.connection, (mailbox.user, mark));
        }
        if mark.is_away != before.is_away {
            state.spoken.insert(mailbox.user);
        }
        state.tidy(mailbox.user);
    }

    /// The connection has ended. Returns whether it had said something.
    pub fn forget(&self, mailbox: &Mailbox) -> bool {
        let state = &mut *self.0.lock();
        let Some(marks) = state.marks.get_mut(&mailbox.user) else { return false };
        let had_said = marks.remove(&mailbox.connection).is_some();
        if had_said {
            state.pending.remove(&mailbox.connection);
            // Otherwise whoever meets it removes it.
            if state.pending.len() < ENDED_MAX {
                state.pending.insert(mailbox.connection, (mailbox.user, Mark::default()));
            }
        }
        state.tidy(mailbox.user);
        had_said
    }

    pub fn is_away(&self, user: UserId, connection: ConnectionId) -> bool {
        let state = self.0.lock();
        let mark = state.marks.get(&user).and_then(|marks| marks.get(&connection));
        mark.is_some_and(|mark| mark.is_away)
    }

    /// The store may have lost them: all are to be written again.
    pub fn repeat(&self) {
        let state = &mut *self.0.lock();
        for (user, marks) in &state.marks {
            state.pending.extend(marks.iter().map(|(connection, mark)| (*connection, (*user, *mark))));
        }
    }

    pub fn take(&self, node: NodeId) -> News {
        let state = &mut *self.0.lock();
        let entry = |(connection, (user, mark))| (Entry { user, connection, node }, mark);
        let marks = std::mem::take(&mut state.pending).into_iter().map(entry).collect();
        News { marks, spoken: std::mem::take(&mut state.spoken) }
    }

    /// It could not be dealt with. What was said since counts.
    pub fn put_back(&self, news: News) {
        let state = &mut *self.0.lock();
        for (entry, mark) in news.marks {
            state.pending.entry(entry.connection).or_insert((entry.user, mark));
        }
        state.spoken.extend(news.spoken);
    }
}

impl State {
    /// What is said by default is not kept.
    fn tidy(&mut self, user: UserId) {
        let Some(marks) = self.marks.get_mut(&user) else { return };
        marks.retain(|_, mark| *mark != Mark::default());
        if marks.is_empty() {
            self.marks.remove(&user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::mailbox::Bounds;
    use crate::domain::ids::SessionId;

    #[test]
    fn what_connections_said_that_ended_is_not_written_however_many_they_are() {
        let (sayings, user) = (Sayings::default(), UserId::generate());
        for _ in 0..=ENDED_MAX {
            let bounds = Bounds { frames_max: 1, bytes_max: 1 };
            let mailbox = Arc::new(Mailbox::new(user, SessionId::generate(), None, bounds));
            sayings.change(&mailbox, |mark| mark.is_away = true);
            assert!(sayings.forget(&mailbox));
        }
        let marks = sayings.take(NodeId::generate()).marks;
        assert_eq!(marks.len(), ENDED_MAX);
        assert!(marks.iter().all(|(_, mark)| *mark == Mark::default()));
    }
}
