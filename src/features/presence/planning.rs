//! What is to be done about a user whose connections to this node came, went or said something.

use std::sync::Arc;

use super::Shared;
use crate::delivery::mailbox::Mailbox;
use crate::domain::ids::UserId;
use crate::domain::standing::Availability;
use crate::ports::presence::marks::Found;

/// What a user's connections to this node say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// Somebody looks at one of them.
    Here,
    Away,
}

impl Local {
    /// `None`: there are none.
    pub fn of(shared: &Shared, user: UserId) -> Option<Self> {
        let connections = shared.parts.registry.connections_of(user);
        let is_away = |mailbox: &Arc<Mailbox>| shared.sayings.is_away(user, mailbox.connection);
        match connections.iter().all(is_away) {
            _ if connections.is_empty() => None,
            true => Some(Self::Away),
            false => Some(Self::Here),
        }
    }
}

/// What Postgres knows of a user of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    As(Local),
    /// Nobody is sure of that.
    Unsure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Postgres knows it, or need not.
    Nothing,
    /// The user is online, whatever the other nodes know.
    Write,
    /// All connections here are away: the others decide it.
    Ask,
    /// The last connection was closed, and may come back.
    Leave,
    /// So was the last one that somebody looked at.
    Fade,
}

pub fn step(known: Option<Known>, local: Option<Local>, has_spoken: bool) -> Step {
    let is_known = known == local.map(Known::As);
    match local {
        None if known.is_none() => Step::Nothing,
        None => Step::Leave,
        Some(Local::Here) if is_known => Step::Nothing,
        Some(Local::Here) => Step::Write,
        Some(Local::Away) if has_spoken => Step::Ask,
        Some(Local::Away) if is_known => Step::Nothing,
        Some(Local::Away) if known == Some(Known::As(Local::Here)) => Step::Fade,
        Some(Local::Away) => Step::Ask,
    }
}

/// Away if all devices are. Ours are, if no others are known.
pub fn availability(found: &Found) -> Availability {
    if found.devices.iter().all(|device| device.mark.is_away) {
        Availability::Away
    } else {
        Availability::Online
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_postgres_does_not_know_is_done() {
        use Local::{Away, Here};
        let known = |local| Some(Known::As(local));
        for (is_known, local, has_spoken, expected) in [
            (None, None, false, Step::Nothing),
            (known(Here), None, true, Step::Leave),
            (Some(Known::Unsure), None, false, Step::Leave),
            (known(Here), Some(Here), true, Step::Nothing),
            (known(Away), Some(Here), false, Step::Write),
            (Some(Known::Unsure), Some(Here), false, Step::Write),
            (None, Some(Here), false, Step::Write),
            (known(Here), Some(Away), true, Step::Ask),
            (known(Here), Some(Away), false, Step::Fade),
            (known(Away), Some(Away), false, Step::Nothing),
            (known(Away), Some(Away), true, Step::Ask),
            (Some(Known::Unsure), Some(Away), false, Step::Ask),
        ] {
            assert_eq!(step(is_known, local, has_spoken), expected, "{is_known:?} {local:?} {has_spoken}");
        }
    }
}
