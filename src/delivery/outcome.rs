//! What becomes of an event in the end, and why: one outcome, one reason, both from closed lists.
//!
//! `docs/outcomes.md` says what each means to whoever operates this; a test holds the two lists together.

use std::time::SystemTime;

use crate::delivery::outbox::trace_of;
use crate::domain::ids::EventId;
use crate::telemetry::traces::{Span, TraceContext};

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A device confirmed it, or the user has seen what it tells of.
    Delivered,
    /// The push service took it, or a newer one that says it all.
    Pushed,
    /// Its time to live ended first.
    Expired,
}

impl Outcome {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Pushed => "pushed",
            Self::Expired => "expired",
        }
    }
}

/// Why. The reasons of an expiry are also those why an event waits for its user without being pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A device answered the ping behind it.
    Pong,
    /// A device said that it has stored it.
    Ack,
    /// A client came back with a `since` beyond it.
    Resumed,
    /// The user has seen what it tells of.
    Seen,
    /// Every registered device has confirmed it, where every one counts.
    EveryDevice,
    /// Where every device counts: one has confirmed it, the others not before its life ended.
    SomeDevice,
    /// The push service took it for at least one device.
    Accepted,
    /// The push service took a newer one with the same collapse key, which replaces it on the device.
    Coalesced,
    /// It never wakes a phone, and nobody connected in time.
    Silent,
    /// The user has no device that can be woken.
    NoDevice,
    /// The push service called the token of every device dead.
    TokenDead,
    /// The push service will never take this message.
    Refused,
    /// What a push would say cannot be read.
    Unreadable,
    /// The push service failed for too long.
    GivenUp,
    /// It was still to be confirmed or pushed when its life ended.
    Unconfirmed,
}

impl Reason {
    pub const ALL: [Self; 15] = [
        Self::Pong,
        Self::Ack,
        Self::Resumed,
        Self::Seen,
        Self::EveryDevice,
        Self::SomeDevice,
        Self::Accepted,
        Self::Coalesced,
        Self::Silent,
        Self::NoDevice,
        Self::TokenDead,
        Self::Refused,
        Self::Unreadable,
        Self::GivenUp,
        Self::Unconfirmed,
    ];

    /// The one outcome that it explains.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Pong | Self::Ack | Self::Resumed | Self::Seen | Self::EveryDevice | Self::SomeDevice => {
                Outcome::Delivered
            }
            Self::Accepted | Self::Coalesced => Outcome::Pushed,
            Self::Silent
            | Self::NoDevice
            | Self::TokenDead
            | Self::Refused
            | Self::Unreadable
            | Self::GivenUp
            | Self::Unconfirmed => Outcome::Expired,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pong => "pong",
            Self::Ack => "ack",
            Self::Resumed => "resumed",
            Self::Seen => "seen",
            Self::EveryDevice => "every_device",
            Self::SomeDevice => "some_device",
            Self::Accepted => "accepted",
            Self::Coalesced => "coalesced",
            Self::Silent => "silent",
            Self::NoDevice => "no_device",
            Self::TokenDead => "token_dead",
            Self::Refused => "refused",
            Self::Unreadable => "unreadable",
            Self::GivenUp => "given_up",
            Self::Unconfirmed => "unconfirmed",
        }
    }

    fn from_column(text: &str) -> Result<Self, sqlx::Error> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| sqlx::Error::Decode(format!("`{text}` is no reason").into()))
    }
}

/// An event that was settled just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    pub id: EventId,
    pub kind: String,
    pub reason: Reason,
    pub trace: Option<TraceContext>,
}

/// What a statement returns of an event that it settled.
pub struct SettledRow {
    pub id: EventId,
    pub kind: String,
    pub reason: String,
    pub traceparent: Option<String>,
}

impl TryFrom<SettledRow> for Settled {
    type Error = sqlx::Error;

    /// # Errors
    /// For a text that is no reason of ours.
    fn try_from(SettledRow { id, kind, reason, traceparent }: SettledRow) -> Result<Self, sqlx::Error> {
        let reason = Reason::from_column(&reason)?;
        Ok(Self { id, kind, reason, trace: trace_of(traceparent.as_deref()) })
    }
}

impl Settled {
    /// Counts it, and ends its trace. `began`: when the statement that settled it was sent.
    pub fn tell(&self, began: SystemTime) {
        let outcome = self.reason.outcome().as_str();
        let _span = Span::since(began, self.trace, "event.settle")
            .with_id("event.id", self.id)
            .with("event.kind", || self.kind.clone())
            .with("event.outcome", || outcome)
            .with("event.reason", || self.reason.as_str());
        metrics::counter!(
            "fanlight_events_settled_total",
            "kind" => self.kind.clone(), "outcome" => outcome, "reason" => self.reason.as_str()
        )
        .increment(1);
    }
}

/// Counts an event that waits for its user from now on, because no device can be woken for it.
pub fn count_parked(kind: &str, reason: Reason) {
    metrics::counter!("fanlight_events_parked_total", "kind" => kind.to_owned(), "reason" => reason.as_str())
        .increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documented table: reason and outcome of each row.
    fn documented() -> Vec<(String, String)> {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/outcomes.md");
        let page = std::fs::read_to_string(page).unwrap();
        let cells = |line: &str| -> Vec<String> {
            line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
        };
        let rows = page.lines().filter(|line| line.starts_with("| `")).map(cells);
        rows.map(|row| (row[2].clone(), row[1].clone())).collect()
    }

    #[test]
    fn the_documented_reasons_are_those_of_the_code() {
        let ours: Vec<(String, String)> = Reason::ALL
            .map(|reason| (reason.as_str().to_owned(), reason.outcome().as_str().to_owned()))
            .into();
        assert_eq!(documented(), ours);
    }
}
