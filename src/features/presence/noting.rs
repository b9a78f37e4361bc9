//! What Redis is told of this node's users, so much at once that nobody else waits long for it.

use std::collections::HashSet;

use tokio::time::Instant;

use super::Shared;
use super::sayings::News;
use crate::domain::ids::UserId;

const AT_ONCE: usize = 500;

impl Shared {
    /// Writes what devices say. Returns who said that somebody looks, or nobody, and of whom something is still to be written.
    pub(super) async fn write_marks(&self) -> (HashSet<UserId>, HashSet<UserId>) {
        let News { marks, spoken } = self.sayings.take(self.parts.node);
        let mut written = 0;
        for some in marks.chunks(AT_ONCE) {
            if let Err(error) = self.parts.marks.set(some).await {
                tracing::debug!(%error, "what devices say is written later");
                break;
            }
            written += some.len();
        }
        let rest = marks[written..].to_vec();
        let unwritten: HashSet<UserId> = rest.iter().map(|(entry, _)| entry.user).collect();
        let (later, spoken) = spoken.into_iter().partition(|user| unwritten.contains(user));
        self.sayings.put_back(News { marks: rest, spoken: later });
        (spoken, unwritten)
    }

    /// Lets the other nodes know that these users were here until now: nobody else takes them for gone before their grace
    /// is over.
    pub(super) async fn linger(&self, left: &[(UserId, Instant)]) {
        let grace = self.parts.config.grace();
        for some in left.chunks(AT_ONCE) {
            let rest = some.iter().map(|(user, since)| (*user, grace.saturating_sub(since.elapsed())));
            if let Err(error) = self.parts.marks.linger(self.parts.node, &rest.collect::<Vec<_>>()).await {
                tracing::debug!(%error, "another node may take users for gone whose last connection was here");
                break;
            }
        }
    }
}
