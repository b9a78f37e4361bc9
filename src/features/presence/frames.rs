//! What those who watch somebody are told.

use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use crate::delivery::described::{EXAMPLE_MS, example_user};
use crate::delivery::event::json_text_frame;
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::standing::{Availability, Standing};

/// It has neither an `id` nor a `seq`: of what was missed, only the latest is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PresenceFrame {
    /// Somebody whom this connection watches went online, away or offline.
    #[serde(rename_all = "camelCase")]
    PresenceChanged {
        user_id: UserId,
        status: Availability,
        /// When the last connection was closed, epoch ms. Null unless `offline`.
        #[schema(required)]
        last_seen: Option<i64>,
        /// Epoch ms.
        timestamp: i64,
    },
}

impl PresenceFrame {
    pub fn of(standing: &Standing) -> Self {
        Self::PresenceChanged {
            user_id: standing.user,
            status: standing.availability,
            last_seen: millis(standing.last_seen),
            timestamp: millis(standing.changed_at).unwrap_or_default(),
        }
    }

    pub fn frame(&self) -> Bytes {
        json_text_frame(self)
    }
}

pub(super) fn millis(at: Option<Timestamp>) -> Option<i64> {
    at.map(|at| at.timestamp_millis())
}

/// One of each.
#[must_use]
pub fn described() -> Vec<PresenceFrame> {
    let last_seen = Some(EXAMPLE_MS - 15_000);
    vec![PresenceFrame::PresenceChanged {
        user_id: example_user(),
        status: Availability::Offline,
        last_seen,
        timestamp: EXAMPLE_MS,
    }]
}
