//! Who watches whom on this node, and what each of them was told.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::delivery::mailbox::{Mailbox, Notice, NoticeKind};
use crate::domain::ids::{ConnectionId, UserId};
use crate::domain::standing::{Availability, Standing};

/// A connection that watches a user.
pub type Seat = (UserId, ConnectionId);

#[derive(Default)]
pub struct Book {
    watched: BTreeMap<UserId, Watched>,
    lists: HashMap<ConnectionId, HashSet<UserId>>,
    /// Users of whom somebody was not told for lack of room.
    lagging: HashSet<UserId>,
    watches: usize,
}

/// Somebody whom somebody here watches.
#[derive(Default)]
struct Watched {
    known: Option<Standing>,
    watchers: BTreeMap<ConnectionId, Watcher>,
}

struct Watcher {
    mailbox: Arc<Mailbox>,
    /// `None`: it is about to be told how things are.
    told: Option<Told>,
}

#[derive(Clone, Copy)]
struct Told {
    revision: i64,
    availability: Availability,
}

impl From<&Standing> for Told {
    fn from(standing: &Standing) -> Self {
        Self { revision: standing.revision, availability: standing.availability }
    }
}

impl Book {
    /// Keeps what happens from now on for a connection that is about to be told how these users stand.
    pub fn seat(&mut self, mailbox: &Arc<Mailbox>, users: &[UserId]) {
        let list = self.lists.entry(mailbox.connection).or_default();
        for user in users.iter().filter(|user| list.insert(**user)) {
            let watcher = Watcher { mailbox: Arc::clone(mailbox), told: None };
            self.watched.entry(*user).or_default().watchers.insert(mailbox.connection, watcher);
            self.watches += 1;
        }
    }

    /// The connection watches exactly these users, and is told so in one frame. What was heard since they were read counts.
    pub fn settle(
        &mut self,
        mailbox: &Mailbox,
        standings: &mut [Standing],
        greeting: impl FnOnce(&[Standing]) -> Bytes,
    ) {
        let kept: HashSet<UserId> = standings.iter().map(|standing| standing.user).collect();
        self.keep(mailbox.connection, |user, _| kept.contains(&user));
        for standing in &mut *standings {
            let Some(watched) = self.watched.get_mut(&standing.user) else { continue };
            match watched.known {
                Some(known) if known.revision >= standing.revision => *standing = known,
                // The others who watch are to be told, too.
                Some(_) => {
                    watched.known = Some(*standing);
                    self.lagging.insert(standing.user);
                }
                None => watched.known = Some(*standing),
            }
            if let Some(watcher) = watched.watchers.get_mut(&mailbox.connection) {
                watcher.told = Some(Told::from(&*standing));
            }
        }
        mailbox.answer(greeting(standings));
    }

    /// It could not be told how they stand: it watches those whom it watched before.
    pub fn unseat(&mut self, connection: ConnectionId) {
        self.keep(connection, |_, watcher| watcher.told.is_some());
    }

    /// The connection has ended.
    pub fn forget(&mut self, connection: ConnectionId) {
        self.keep(connection, |_, _| false);
    }

    /// This user may not see that one any more.
    pub fn hide(&mut self, viewer: UserId, user: UserId) {
        let Some(watched) = self.watched.get(&user) else { return };
        let of_viewer = watched.watchers.iter().filter(|(_, watcher)| watcher.mailbox.user == viewer);
        let connections: Vec<ConnectionId> = of_viewer.map(|(connection, _)| *connection).collect();
        for connection in connections {
            self.keep(connection, |other, _| other != user);
        }
    }

    fn keep(&mut self, connection: ConnectionId, is_kept: impl Fn(UserId, &Watcher) -> bool) {
        let Some(list) = self.lists.get_mut(&connection) else { return };
        list.retain(|user| {
            let Some(watched) = self.watched.get_mut(user) else { return false };
            let stays = watched.watchers.get(&connection).is_some_and(|watcher| is_kept(*user, watcher));
            if !stays {
                watched.watchers.remove(&connection);
                self.watches -= 1;
                if watched.watchers.is_empty() {
                    self.watched.remove(user);
                }
            }
            stays
        });
        if list.is_empty() {
            self.lists.remove(&connection);
        }
    }

    /// What is known of somebody, if it is news. `from`: what was known when Postgres said so; only of a past that is lost it
    /// knows less.
    pub fn hear(&mut self, standing: &Standing, from: Option<i64>) -> bool {
        let Some(watched) = self.watched.get_mut(&standing.user) else { return false };
        let is_news = watched.known.is_none_or(|known| {
            known.revision < standing.revision
                || (from == Some(known.revision) && known.revision != standing.revision)
        });
        if is_news {
            watched.known = Some(*standing);
        }
        is_news
    }

    pub fn known(&self, user: UserId) -> Option<Standing> {
        self.watched.get(&user).and_then(|watched| watched.known)
    }

    /// Tells some of those who watch this user and were not told yet. Returns behind whom to go on.
    pub fn tell(
        &mut self,
        standing: &Standing,
        frame: &Bytes,
        after: Bound<ConnectionId>,
        max: usize,
    ) -> Option<ConnectionId> {
        let watched = self.watched.get_mut(&standing.user)?;
        let (mut seen, mut last, mut left) = (0, None, 0);
        for (connection, watcher) in watched.watchers.range_mut((after, Bound::Unbounded)).take(max) {
            (seen, last) = (seen + 1, Some(*connection));
            let Some(told) = watcher.told.filter(|told| told.revision != standing.revision) else { continue };
            // Transitions that were missed and undo each other are nothing to tell.
            let looks_the_same =
                told.availability == standing.availability && told.availability != Availability::Offline;
            let notice = || Notice { kind: NoticeKind::Ephemeral, frame: frame.clone() };
            if looks_the_same || watcher.mailbox.notify(notice()) {
                watcher.told = Some(Told::from(standing));
                left += u64::from(!looks_the_same);
            } else if !watcher.mailbox.is_ended() {
                self.lagging.insert(standing.user);
            }
        }
        metrics::counter!("fanlight_presence_frames_left_total").increment(left);
        last.filter(|_| seen == max)
    }

    /// Of whom somebody may have been told less than is known.
    pub fn take_lagging(&mut self) -> HashSet<UserId> {
        std::mem::take(&mut self.lagging)
    }

    /// How far everybody who is watched is known.
    pub fn revisions(&self) -> Vec<(UserId, i64)> {
        let known =
            self.watched.iter().filter_map(|(user, it)| it.known.map(|known| (*user, known.revision)));
        known.collect()
    }

    /// So many seats behind this one, and in each of them who watches whom.
    pub fn seats(&self, after: Option<Seat>, max: usize) -> Vec<(Seat, UserId)> {
        let from = after.map_or(Bound::Unbounded, |(user, _)| Bound::Included(user));
        let of = |(user, watched): (&UserId, &Watched)| {
            let behind = after.filter(|(last, _)| last == user);
            let behind = behind.map_or(Bound::Unbounded, |(_, connection)| Bound::Excluded(connection));
            let watchers = watched.watchers.range((behind, Bound::Unbounded)).take(max);
            let seat = |(connection, watcher): (&ConnectionId, &Watcher)| {
                ((*user, *connection), watcher.mailbox.user)
            };
            watchers.map(seat).collect::<Vec<_>>()
        };
        self.watched.range((from, Bound::Unbounded)).flat_map(of).take(max).collect()
    }

    #[cfg(test)]
    pub fn told_to(&self, connection: ConnectionId) -> Vec<(UserId, Option<Availability>)> {
        let told = |(user, watched): (&UserId, &Watched)| {
            let watcher = watched.watchers.get(&connection)?;
            Some((*user, watcher.told.map(|told| told.availability)))
        };
        self.watched.iter().filter_map(told).collect()
    }

    /// How many users are watched, and by how many connections each, together.
    pub fn sizes(&self) -> (usize, usize) {
        (self.watched.len(), self.watches)
    }
}
