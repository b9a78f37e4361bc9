//! `SUBSCRIBE`, `UNSUBSCRIBE` and `TYPING`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::typing::Typing;
use super::{Denied, Doorkeeper};
use crate::delivery::described::example_channel;
use crate::delivery::mailbox::Mailbox;
use crate::delivery::rooms::{Head, JoinError, RoomError, Rooms, Since};
use crate::domain::ids::ChannelId;
use crate::edge::http::problem::ErrorCode;
use crate::edge::ws::protocol::{CommandError, CommandErrorCode};
use crate::edge::ws::{Answer, Call, Handler, Refusal};

const SUBSCRIBE: &str = "SUBSCRIBE";
const UNSUBSCRIBE: &str = "UNSUBSCRIBE";
const TYPING: &str = "TYPING";
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a client may say about a room. For the document: each is read field by field.
#[derive(ToSchema)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RoomCommand {
    /// What happens in the room comes on this connection from now on, after what was missed. Once more begins anew.
    #[serde(rename_all = "camelCase")]
    Subscribe {
        channel_id: ChannelId,
        /// The last message that the client has seen, by its seq: later ones come first.
        #[schema(minimum = 0)]
        since: Option<i64>,
        /// Instead: the last change that it has seen. So it also hears what was edited, deleted or reacted to.
        #[schema(minimum = 0)]
        revision: Option<i64>,
    },
    /// Nothing more of the room comes.
    #[serde(rename_all = "camelCase")]
    Unsubscribe { channel_id: ChannelId },
    /// The user is typing, or is not any more. To be repeated every three seconds.
    #[serde(rename_all = "camelCase")]
    Typing { channel_id: ChannelId, is_typing: bool },
}

/// One of each command, and the `type`s of the frames that may answer it.
#[must_use]
pub fn described() -> Vec<(Value, &'static [&'static str])> {
    let room = example_channel();
    vec![
        (
            json!({"type": SUBSCRIBE, "channelId": room, "revision": 41, "ref": "a1"}),
            &["OK", "ROOM_RESYNC", "ERROR"],
        ),
        (json!({"type": UNSUBSCRIBE, "channelId": room, "ref": "a2"}), &["OK", "ERROR"]),
        (json!({"type": TYPING, "channelId": room, "isTyping": true}), &["OK", "ERROR"]),
    ]
}

/// The rest of an `OK`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Subscribed {
    channel_id: ChannelId,
    seq: i64,
    revision: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Unsubscribed {
    channel_id: ChannelId,
}

pub struct Commands {
    pub rooms: Rooms,
    pub doorkeeper: Arc<dyn Doorkeeper>,
    pub typing: Arc<Typing>,
}

#[async_trait]
impl Handler for Commands {
    fn names(&self) -> &'static [&'static str] {
        &[SUBSCRIBE, UNSUBSCRIBE, TYPING]
    }

    async fn handle(&self, call: &Call) -> Result<Answer, Refusal> {
        let fields = call.fields()?;
        let room: ChannelId = fields.needed("channelId")?;
        match call.name {
            SUBSCRIBE => {
                let since = since(fields.optional("since")?, fields.optional("revision")?)?;
                self.subscribe(call, room, since).await
            }
            UNSUBSCRIBE => {
                self.rooms.leave(&call.mailbox, room);
                Ok(Answer::Frame(call.ok(&Unsubscribed { channel_id: room })))
            }
            _ => {
                let is_typing = fields.needed("isTyping")?;
                self.type_in(call, room, is_typing).await
            }
        }
    }

    fn ended(&self, mailbox: &Arc<Mailbox>) {
        self.rooms.forget(mailbox);
        self.typing.end_all(mailbox.connection);
    }
}

impl Commands {
    /// The answer stands between what was missed and what happens from now on.
    async fn subscribe(&self, call: &Call, room: ChannelId, since: Since) -> Result<Answer, Refusal> {
        let user = call.mailbox.user;
        // Before anything is moved for a stranger. Whether it is still true once the seat is taken, the rooms look.
        self.rooms.in_turn(self.doorkeeper.may_subscribe(user, room)).await.map_err(JoinError::Room)??;
        let greeting =
            |Head { seq, revision }: Head| call.ok(&Subscribed { channel_id: room, seq, revision });
        self.rooms.subscribe(&call.mailbox, room, since, &greeting).await?;
        Ok(Answer::Given)
    }

    async fn type_in(&self, call: &Call, room: ChannelId, is_typing: bool) -> Result<Answer, Refusal> {
        let (user, connection) = (call.mailbox.user, call.mailbox.connection);
        if !is_typing {
            self.typing.end(room, user);
        } else if !self.typing.goes_on(room, user) {
            self.doorkeeper.may_type(user, room).await?;
            self.typing.begin(room, user, connection);
        }
        Ok(call.ok_if_asked())
    }
}

fn since(seq: Option<i64>, revision: Option<i64>) -> Result<Since, Refusal> {
    match (seq, revision) {
        (None, None) => Ok(Since::Now),
        (Some(seq @ 0..), None) => Ok(Since::Seq(seq)),
        (None, Some(revision @ 0..)) => Ok(Since::Revision(revision)),
        (Some(_), _) => Err(CommandError::InvalidField("since").into()),
        (None, Some(_)) => Err(CommandError::InvalidField("revision").into()),
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Hidden => ErrorCode::NotFound.into(),
            Denied::Forbidden => ErrorCode::Forbidden.into(),
            Denied::Unavailable => Self::from(ErrorCode::Unavailable).retry_after(RETRY_AFTER),
        }
    }
}

impl From<JoinError> for Refusal {
    fn from(error: JoinError) -> Self {
        match &error {
            JoinError::TooManySubscriptions => {
                Self::new(CommandErrorCode::TooManySubscriptions, error.to_string())
            }
            JoinError::NotAMember => ErrorCode::Forbidden.into(),
            JoinError::Room(RoomError::NoSuchRoom) => ErrorCode::NotFound.into(),
            JoinError::Room(RoomError::Unavailable(_)) => Denied::Unavailable.into(),
            JoinError::TooFast => {
                Self::new(CommandErrorCode::Unavailable, error.to_string()).retry_after(RETRY_AFTER)
            }
        }
    }
}
