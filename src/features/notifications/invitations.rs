//! Whose phone an invitation may wake. The event itself is always told.

use std::collections::HashMap;

use crate::db::PgConnection;
use crate::delivery::event::NewEvent;
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::features::notifications::decision::{Reason, count};
use crate::features::notifications::model::General;
use crate::features::notifications::repository::preferences;

/// What was decided for each of those who are invited.
pub struct Invitations(HashMap<UserId, Reason>);

impl Invitations {
    /// Decides it, inside the caller's transaction.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn to(conn: &mut PgConnection, users: &[UserId], now: Timestamp) -> Result<Self, sqlx::Error> {
        let wishes: HashMap<_, _> = preferences::of_all(conn, users).await?.into_iter().collect();
        let decided = users.iter().map(|user| {
            let general = wishes.get(user).copied().unwrap_or_default();
            (*user, decide(&general, now))
        });
        Ok(Self(decided.collect()))
    }

    /// The event as it may be told: without a push to whoever is not to be woken.
    #[must_use]
    pub fn allow(&self, mut event: NewEvent) -> NewEvent {
        if self.0.get(&event.user).is_some_and(|reason| *reason != Reason::Sent) {
            event.push = None;
        }
        event
    }

    /// Counts what was decided, after the commit.
    pub fn count(&self) {
        for reason in self.0.values() {
            count("invite", *reason);
        }
    }
}

fn decide(general: &General, now: Timestamp) -> Reason {
    if !general.invites {
        return Reason::Preference;
    }
    match general.quiet_hours.and_then(|hours| hours.end(now)) {
        Some(_) => Reason::QuietHours,
        None => Reason::Sent,
    }
}
