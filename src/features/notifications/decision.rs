//! Whether somebody is told, now, later, or not at all, and why: one reason, from a closed list.
//!
//! Pure. `docs/notifications.md` says what each means; a test holds the two lists together.

use crate::domain::clock::Timestamp;
use crate::features::notifications::config::Config;
use crate::features::notifications::model::{General, Special};

/// What concerns somebody; the stronger one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    All,
    Direct,
    Mention,
}

impl Cause {
    pub const ALL: [Self; 3] = [Self::All, Self::Direct, Self::Mention];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Direct => "direct",
            Self::Mention => "mention",
        }
    }

    /// # Errors
    /// For a text that the column's CHECK does not admit.
    pub(super) fn from_column(text: &str) -> Result<Self, sqlx::Error> {
        let found = Self::ALL.into_iter().find(|cause| cause.as_str() == text);
        found.ok_or_else(|| sqlx::Error::Decode(format!("`{text}` is no cause").into()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// An event was written for them.
    Sent,
    /// They had read it before.
    Read,
    /// They muted the conversation.
    Muted,
    /// They do not want to be told of such a thing.
    Preference,
    /// It waits for the end of their quiet hours.
    QuietHours,
    /// It waits, because a device of theirs shows the conversation.
    Viewing,
    /// A device of theirs showed the conversation all the time.
    Viewed,
    /// They are not in the conversation any more.
    NotAMember,
    /// Nothing is left of what it was about.
    Deleted,
    /// It could not be told for too long.
    Expired,
}

impl Reason {
    pub const ALL: [Self; 10] = [
        Self::Sent,
        Self::Read,
        Self::Muted,
        Self::Preference,
        Self::QuietHours,
        Self::Viewing,
        Self::Viewed,
        Self::NotAMember,
        Self::Deleted,
        Self::Expired,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Read => "read",
            Self::Muted => "muted",
            Self::Preference => "preference",
            Self::QuietHours => "quiet_hours",
            Self::Viewing => "viewing",
            Self::Viewed => "viewed",
            Self::NotAMember => "not_a_member",
            Self::Deleted => "deleted",
            Self::Expired => "expired",
        }
    }

    /// # Errors
    /// For a text that is no reason of ours.
    pub(super) fn from_column(text: &str) -> Result<Self, sqlx::Error> {
        let found = Self::ALL.into_iter().find(|reason| reason.as_str() == text);
        found.ok_or_else(|| sqlx::Error::Decode(format!("`{text}` is no reason").into()))
    }
}

/// Counts a decision: once, however long it then waits. `cause` is a [`Cause`], or an invitation.
pub fn count(cause: &'static str, reason: Reason) {
    metrics::counter!("fanlight_notifications_total", "cause" => cause, "reason" => reason.as_str())
        .increment(1);
}

/// What is known of one person and one conversation when it is decided.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The strongest that was noted.
    pub noted: Cause,
    pub noticed_at: Timestamp,
    /// Since when a device has shown the conversation.
    pub held_since: Option<Timestamp>,
    /// How far they have read; `None`: not a member.
    pub read_to: Option<i64>,
    pub is_direct: bool,
    /// The newest of the messages that is not deleted.
    pub newest: Option<i64>,
    /// The newest of them that names the person.
    pub mention: Option<i64>,
    pub general: General,
    pub special: Special,
    pub is_viewing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Tell(Cause),
    /// Looked at again then.
    Wait {
        cause: Cause,
        reason: Reason,
        until: Timestamp,
    },
    /// Nothing is told, for this reason.
    End {
        cause: Cause,
        reason: Reason,
    },
}

impl Case {
    #[must_use]
    pub fn decide(&self, now: Timestamp, config: &Config) -> Decision {
        let cause = match self.cause(now, config) {
            Ok(cause) => cause,
            Err(reason) => return Decision::End { cause: self.noted, reason },
        };
        if self.is_viewing {
            let since = self.held_since.unwrap_or(now);
            if now - since >= config.hold_max() {
                return Decision::End { cause, reason: Reason::Viewed };
            }
            return Decision::Wait { cause, reason: Reason::Viewing, until: now + config.hold() };
        }
        match self.general.quiet_hours.and_then(|hours| hours.end(now)) {
            Some(until) => Decision::Wait { cause, reason: Reason::QuietHours, until },
            None => Decision::Tell(cause),
        }
    }

    /// What they may be told of, or why of nothing.
    fn cause(&self, now: Timestamp, config: &Config) -> Result<Cause, Reason> {
        let read_to = self.read_to.ok_or(Reason::NotAMember)?;
        if now - self.noticed_at >= config.kept() {
            return Err(Reason::Expired);
        }
        let newest = self.newest.ok_or(Reason::Deleted)?;
        if newest <= read_to {
            return Err(Reason::Read);
        }
        let is_muted = self.special.mute.holds(now);
        if self.is_direct {
            return match (self.general.direct, is_muted) {
                (false, _) => Err(Reason::Preference),
                (true, true) => Err(Reason::Muted),
                (true, false) => Ok(Cause::Direct),
            };
        }
        // Whoever mutes a channel still wants to know when somebody calls them.
        let is_mentioned = self.mention.is_some_and(|seq| seq > read_to);
        if is_mentioned && self.special.mentions.unwrap_or(self.general.mentions) {
            return Ok(Cause::Mention);
        }
        match (self.special.all.unwrap_or(self.general.all), is_muted) {
            (true, false) => Ok(Cause::All),
            (true, true) => Err(Reason::Muted),
            // The only message that named them was read, deleted, or edited.
            (false, _) if self.noted == Cause::Mention && !is_mentioned => {
                Err(if self.mention.is_some() { Reason::Read } else { Reason::Deleted })
            }
            (false, _) => Err(Reason::Preference),
        }
    }
}
