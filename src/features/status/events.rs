//! What a status change tells: the partner's devices, and the actor's own.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::delivery::described;
use crate::delivery::event::{Event, NewEvent, PushContent};
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::features::status::model::{Light, Status};

/// Yesterday's light is no news.
const TTL: Duration = Duration::from_hours(24);

described::events!(pub(in crate::features) fn events: PartnerStatusChanged<'_>, SelfStatusChanged);

/// To all devices of the partner.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PartnerStatusChanged<'a> {
    /// Whose light it is: the other person, seen from the receiver.
    partner_id: UserId,
    status: Status,
    /// When a timed status lapses, epoch ms.
    #[schema(required)]
    status_expiration: Option<i64>,
    /// When it changed, epoch ms.
    timestamp: i64,
    #[serde(skip)]
    name: Option<&'a str>,
}

impl Event for PartnerStatusChanged<'_> {
    const KIND: &'static str = "PARTNER_STATUS_CHANGED";
    const TTL: Duration = TTL;

    fn push(&self) -> Option<PushContent> {
        let args = self.name.map(|name| ("name".to_owned(), name.to_owned()));
        Some(PushContent {
            text: text_key(self.status),
            args: args.into_iter().collect(),
            data: BTreeMap::from([
                ("actorId".to_owned(), self.partner_id.to_string()),
                ("status".to_owned(), self.status.as_str().to_owned()),
            ]),
            collapse_key: format!("partner_status_changed.{}", self.partner_id),
        })
    }

    fn example() -> Self {
        Self {
            partner_id: described::example_user(),
            status: Status::Available,
            status_expiration: None,
            timestamp: described::EXAMPLE_MS,
            name: Some("Mia"),
        }
    }
}

fn text_key(status: Status) -> String {
    format!("partner_status_changed.{}", status.as_str().to_ascii_lowercase())
}

/// To all devices of whose light it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SelfStatusChanged {
    user_id: UserId,
    status: Status,
    /// When a timed status lapses, epoch ms.
    #[schema(required)]
    status_expiration: Option<i64>,
    /// When it changed, epoch ms.
    timestamp: i64,
}

impl Event for SelfStatusChanged {
    const KIND: &'static str = "SELF_STATUS_CHANGED";
    const TTL: Duration = TTL;

    fn push(&self) -> Option<PushContent> {
        None
    }

    fn example() -> Self {
        Self {
            user_id: described::example_user(),
            status: Status::Busy,
            status_expiration: Some(described::EXAMPLE_MS + 1_800_000),
            timestamp: described::EXAMPLE_MS,
        }
    }
}

/// Whose light changed, to what, and when.
pub struct Change<'a> {
    pub actor: UserId,
    /// The actor's display name, where it is known already.
    pub name: Option<&'a str>,
    pub light: Light,
    pub at: Timestamp,
}

impl Change<'_> {
    /// What `partner` is told.
    pub fn for_partner(&self, partner: UserId) -> NewEvent {
        let event = PartnerStatusChanged {
            partner_id: self.actor,
            status: self.light.status,
            status_expiration: self.expiration_ms(),
            timestamp: self.at.timestamp_millis(),
            name: self.name,
        };
        NewEvent::new(partner, &event)
    }

    /// What the actor's own devices are told.
    pub fn for_actor(&self) -> NewEvent {
        let event = SelfStatusChanged {
            user_id: self.actor,
            status: self.light.status,
            status_expiration: self.expiration_ms(),
            timestamp: self.at.timestamp_millis(),
        };
        NewEvent::new(self.actor, &event)
    }

    fn expiration_ms(&self) -> Option<i64> {
        self.light.timer.map(|timer| timer.expires_at.timestamp_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::texts;

    fn change(light: Light) -> NewEvent {
        let actor = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let at = chrono::DateTime::from_timestamp_millis(1_710_930_000_000).unwrap();
        Change { actor, name: Some("Mia"), light, at }.for_partner(UserId::generate())
    }

    #[test]
    fn the_frame_is_the_one_of_the_contract() {
        let event = change(Light { status: Status::Available, timer: None });
        assert_eq!(
            event.body,
            r#"{"type":"PARTNER_STATUS_CHANGED","partnerId":"01890a5d-ac96-774b-bcce-b302099a8057","status":"AVAILABLE","statusExpiration":null,"timestamp":1710930000000}"#
        );
    }

    #[test]
    fn every_status_has_its_own_push_text_and_a_short_collapse_key() {
        let general = texts::render("generic", &BTreeMap::new(), "en").body;
        for status in Status::ALL {
            let push = change(Light { status, timer: None }).push.unwrap();
            assert_ne!(texts::render(&push.text, &push.args, "en").body, general);
            assert_eq!(texts::render(&push.text, &push.args, "en").title, "Mia");
            assert_eq!(push.data["status"], status.as_str());
            assert!(push.collapse_key.len() <= 64, "APNs refuses a longer one");
        }
    }
}
