//! What people want to be told of.

use chrono_tz::Tz;

use crate::domain::clock::Timestamp;
use crate::domain::ids::ChannelId;
use crate::features::notifications::quiet::QuietHours;

/// What somebody wants, wherever they have not said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is wanted or not, whatever the others are")]
pub struct General {
    pub mentions: bool,
    pub direct: bool,
    pub invites: bool,
    /// Every message of every channel and group.
    pub all: bool,
    pub quiet_hours: Option<QuietHours>,
}

impl Default for General {
    fn default() -> Self {
        Self { mentions: true, direct: true, invites: true, all: false, quiet_hours: None }
    }
}

/// What changes; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct GeneralChange {
    pub mentions: Option<bool>,
    pub direct: Option<bool>,
    pub invites: Option<bool>,
    pub all: Option<bool>,
    #[expect(clippy::option_option, reason = "as it is, none, or these")]
    pub quiet_hours: Option<Option<QuietHours>>,
}

impl GeneralChange {
    #[must_use]
    pub fn of(self, general: General) -> General {
        General {
            mentions: self.mentions.unwrap_or(general.mentions),
            direct: self.direct.unwrap_or(general.direct),
            invites: self.invites.unwrap_or(general.invites),
            all: self.all.unwrap_or(general.all),
            quiet_hours: self.quiet_hours.unwrap_or(general.quiet_hours),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mute {
    #[default]
    Off,
    Until(Timestamp),
    ForGood,
}

impl Mute {
    #[must_use]
    pub fn holds(self, now: Timestamp) -> bool {
        match self {
            Self::Off => false,
            Self::Until(end) => now < end,
            Self::ForGood => true,
        }
    }
}

/// What somebody wants of one conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Special {
    pub mute: Mute,
    /// `None`: as everywhere else.
    pub mentions: Option<bool>,
    pub all: Option<bool>,
}

/// Of which conversation.
pub type SpecialOf = (ChannelId, Special);

/// What the database holds of quiet hours.
pub struct QuietColumns {
    pub from: Option<chrono::NaiveTime>,
    pub until: Option<chrono::NaiveTime>,
    pub zone: Option<String>,
}

impl QuietColumns {
    /// A zone that this version does not know (a newer one wrote it) is none: better told at night than never.
    #[must_use]
    pub fn read(self) -> Option<QuietHours> {
        let zone: Tz = self.zone?.parse().ok()?;
        Some(QuietHours { from: self.from?, until: self.until?, zone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mute_ends_at_its_end() {
        let end: Timestamp = "2026-07-01T20:00:00Z".parse().unwrap();
        assert!(Mute::Until(end).holds(end - chrono::TimeDelta::microseconds(1)));
        assert!(!Mute::Until(end).holds(end));
        assert!(Mute::ForGood.holds(end) && !Mute::Off.holds(end));
    }
}
