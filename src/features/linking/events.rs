//! What both sides are told when they are linked or part.
//!
//! Only the other one's phone is woken: who acted has the app in hand.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::delivery::described;
use crate::delivery::event::{Event, NewEvent, PushContent};
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;

/// As long as events are kept: whom one is linked to is news after a weekend, too.
const TTL: Duration = Duration::from_hours(72);

described::events!(pub(in crate::features) fn events: PartnerLinked, PartnerUnlinked);

/// A user as the events speak of them.
#[derive(Clone, Debug)]
pub struct Party {
    pub id: UserId,
    pub name: Option<String>,
}

/// To all devices of both, when one has confirmed the other's code.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PartnerLinked {
    /// The other person, seen from the receiver.
    partner_id: UserId,
    /// When it happened, epoch ms.
    timestamp: i64,
    #[serde(skip)]
    push: Option<PushContent>,
}

impl Event for PartnerLinked {
    const KIND: &'static str = "PARTNER_LINKED";
    const TTL: Duration = TTL;

    fn push(&self) -> Option<PushContent> {
        self.push.clone()
    }

    fn example() -> Self {
        let partner = Party { id: described::example_user(), name: Some("Mia".to_owned()) };
        Self {
            partner_id: partner.id,
            timestamp: described::EXAMPLE_MS,
            push: Some(push("partner_linked", &partner)),
        }
    }
}

/// To all devices of both, when one has left the other.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PartnerUnlinked {
    /// The other person, seen from the receiver.
    partner_id: UserId,
    /// When it happened, epoch ms.
    timestamp: i64,
    #[serde(skip)]
    push: Option<PushContent>,
}

impl Event for PartnerUnlinked {
    const KIND: &'static str = "PARTNER_UNLINKED";
    const TTL: Duration = TTL;

    fn push(&self) -> Option<PushContent> {
        self.push.clone()
    }

    fn example() -> Self {
        let partner = Party { id: described::example_user(), name: Some("Mia".to_owned()) };
        Self {
            partner_id: partner.id,
            timestamp: described::EXAMPLE_MS,
            push: Some(push("partner_unlinked", &partner)),
        }
    }
}

/// For both, when `actor` confirmed `other`'s code.
pub fn linked(actor: &Party, other: &Party, at: Timestamp) -> Vec<NewEvent> {
    let event = |partner: &Party, push| PartnerLinked {
        partner_id: partner.id,
        timestamp: at.timestamp_millis(),
        push,
    };
    vec![
        NewEvent::new(actor.id, &event(other, None)),
        NewEvent::new(other.id, &event(actor, Some(push("partner_linked", actor)))),
    ]
}

/// For both, when `actor` left `other`.
pub fn unlinked(actor: &Party, other: &Party, at: Timestamp) -> Vec<NewEvent> {
    let event = |partner: &Party, push| PartnerUnlinked {
        partner_id: partner.id,
        timestamp: at.timestamp_millis(),
        push,
    };
    vec![
        NewEvent::new(actor.id, &event(other, None)),
        NewEvent::new(other.id, &event(actor, Some(push("partner_unlinked", actor)))),
    ]
}

fn push(text: &str, actor: &Party) -> PushContent {
    let args = actor.name.clone().map(|name| ("name".to_owned(), name));
    PushContent {
        text: text.to_owned(),
        args: args.into_iter().collect(),
        data: BTreeMap::from([("actorId".to_owned(), actor.id.to_string())]),
        collapse_key: format!("{text}.{}", actor.id),
    }
}
