//! An offer to be linked.

use crate::domain::clock::Timestamp;
use crate::domain::ids::{LinkSessionId, UserId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    Pending,
    Confirmed,
    Expired,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSession {
    pub id: LinkSessionId,
    pub owner: UserId,
    pub expires_at: Timestamp,
    pub confirmed_at: Option<Timestamp>,
}

impl LinkSession {
    /// The code is still good at the very instant of its expiry.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> LinkState {
        match self.confirmed_at {
            Some(_) => LinkState::Confirmed,
            None if now <= self.expires_at => LinkState::Pending,
            None => LinkState::Expired,
        }
    }
}
