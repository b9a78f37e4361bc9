//! `WATCH`, `PRESENCE` and `VIEW`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Service;
use super::views::PresenceView;
use super::watching::WatchError;
use crate::delivery::described::{example_channel, example_user};
use crate::delivery::mailbox::Mailbox;
use crate::domain::ids::{ChannelId, UserId};
use crate::edge::http::problem::ErrorCode;
use crate::edge::ws::protocol::CommandErrorCode;
use crate::edge::ws::{Answer, Call, Fields, Handler, Refusal};

const WATCH: &str = "WATCH";
const PRESENCE: &str = "PRESENCE";
const VIEW: &str = "VIEW";
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a client may say about who is there. For the document: each is read field by field.
#[derive(ToSchema)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PresenceCommand {
    /// How these users stand comes in the answer, and each change from then on. Replaces the whole list.
    #[serde(rename_all = "camelCase")]
    Watch {
        #[schema(max_items = 200)]
        user_ids: Vec<UserId>,
    },
    /// Whether somebody looks at this device.
    Presence { status: DeviceStatus },
    /// The channel that this device shows now; null or absent: none.
    #[serde(rename_all = "camelCase")]
    View { channel_id: Option<ChannelId> },
}

/// What a device says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceStatus {
    Online,
    Away,
}

/// One of each command, and the `type`s of the frames that may answer it.
#[must_use]
pub fn described() -> Vec<(Value, &'static [&'static str])> {
    vec![
        (json!({"type": WATCH, "userIds": [example_user()], "ref": "a5"}), &["OK", "ERROR"]),
        (json!({"type": PRESENCE, "status": "away"}), &["OK", "ERROR"]),
        (json!({"type": VIEW, "channelId": example_channel()}), &["OK", "ERROR"]),
    ]
}

/// The rest of an `OK`.
#[derive(Serialize)]
struct Watched {
    presence: Vec<PresenceView>,
}

pub struct Commands {
    pub service: Arc<Service>,
}

#[async_trait]
impl Handler for Commands {
    fn names(&self) -> &'static [&'static str] {
        &[WATCH, PRESENCE, VIEW]
    }

    async fn handle(&self, call: &Call) -> Result<Answer, Refusal> {
        let fields = call.fields()?;
        match call.name {
            WATCH => self.watch(call, &fields).await,
            PRESENCE => {
                let status: DeviceStatus = fields.needed("status")?;
                Ok(self.present(call, status))
            }
            _ => {
                let viewing: Option<ChannelId> = fields.optional("channelId")?;
                self.service.shared.sayings.change(&call.mailbox, |mark| mark.viewing = viewing);
                self.service.shared.parts.registry.turnover().note(call.mailbox.user);
                Ok(call.ok_if_asked())
            }
        }
    }

    fn ended(&self, mailbox: &Arc<Mailbox>) {
        let shared = &self.service.shared;
        shared.watching.forget(mailbox);
        if shared.sayings.forget(mailbox) {
            shared.parts.registry.turnover().note(mailbox.user);
        }
    }
}

impl Commands {
    async fn watch(&self, call: &Call, fields: &Fields<'_>) -> Result<Answer, Refusal> {
        let users: Vec<UserId> = fields.needed("userIds")?;
        self.service
            .shared
            .watching
            .watch(&call.mailbox, &users, |standings| {
                call.ok(&Watched { presence: standings.iter().map(PresenceView::from).collect() })
            })
            .await?;
        Ok(Answer::Given)
    }

    fn present(&self, call: &Call, status: DeviceStatus) -> Answer {
        let shared = &self.service.shared;
        shared.sayings.change(&call.mailbox, |mark| mark.is_away = status == DeviceStatus::Away);
        shared.parts.registry.turnover().note(call.mailbox.user);
        call.ok_if_asked()
    }
}

impl From<WatchError> for Refusal {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::TooMany(_) => Self::new(CommandErrorCode::TooManyWatched, error.to_string()),
            WatchError::Unavailable(error) => {
                tracing::warn!(%error, "cannot read how users stand");
                Self::from(ErrorCode::Unavailable).retry_after(RETRY_AFTER)
            }
        }
    }
}
