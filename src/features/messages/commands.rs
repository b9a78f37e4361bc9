//! `SEND`: the same as `POST /messages/`, on a socket that is open anyway.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::delivery::described::example_channel;
use crate::delivery::mailbox::Mailbox;
use crate::domain::ids::{ChannelId, MessageId, UploadId};
use crate::edge::http::Problem;
use crate::edge::ws::{Answer, Call, Fields, Handler, Refusal};
use crate::features::messages::bodies::WrittenType;
use crate::features::messages::model::{Draft, Metadata};
use crate::features::messages::service::Service;

const SEND: &str = "SEND";
/// As long as a request may take: a Postgres that is gone says nothing. What was sent may be written nevertheless, which
/// `clientId` is for.
const DEADLINE: Duration = Duration::from_secs(10);

/// What a client may say about messages. For the document: it is read field by field.
#[derive(ToSchema)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MessageCommand {
    /// Writes a message. `OK` is said once it is committed, with its `messageId` and `seq`.
    #[serde(rename_all = "camelCase")]
    Send {
        channel_id: ChannelId,
        #[schema(min_length = 1, max_length = 10_000)]
        content: String,
        message_type: Option<WrittenType>,
        /// Anything for other clients, of at most 4 KiB.
        #[schema(value_type = Option<Object>)]
        metadata: Option<Metadata>,
        /// Any message of the thread to write in.
        parent_id: Option<MessageId>,
        /// What the client calls the message: the same one sent again is the same message.
        #[schema(min_length = 1, max_length = 128)]
        client_id: Option<String>,
        /// Files from `POST /uploads` that no message has yet.
        #[schema(max_items = 10)]
        attachments: Option<Vec<UploadId>>,
    },
}

/// One of each command, and the `type`s of the frames that may answer it.
#[must_use]
pub fn described() -> Vec<(Value, &'static [&'static str])> {
    let room = example_channel();
    let send = json!({"type": SEND, "channelId": room, "content": "Hello!", "clientId": "c-17", "ref": "a4"});
    vec![(send, &["OK", "ERROR"])]
}

/// The rest of an `OK`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    channel_id: ChannelId,
    message_id: MessageId,
    seq: i64,
    created_at: DateTime<Utc>,
}

pub struct Commands {
    pub(super) service: Arc<Service>,
    pub(super) deadline: Duration,
}

impl Commands {
    #[must_use]
    pub fn new(service: Arc<Service>) -> Self {
        Self { service, deadline: DEADLINE }
    }
}

#[async_trait]
impl Handler for Commands {
    fn names(&self) -> &'static [&'static str] {
        &[SEND]
    }

    async fn handle(&self, call: &Call) -> Result<Answer, Refusal> {
        let draft = draft(&call.fields()?)?;
        let sending = timeout(self.deadline, self.service.send(call.mailbox.user, &draft));
        let sent = sending.await.map_err(|_| Problem::unavailable())?.map_err(Problem::from)?;
        let message = sent.message();
        Ok(Answer::Frame(call.ok(&Written {
            channel_id: message.channel,
            message_id: message.id,
            seq: message.seq,
            created_at: message.created_at,
        })))
    }

    fn ended(&self, _: &Arc<Mailbox>) {}
}

fn draft(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    let written: Option<WrittenType> = fields.optional("messageType")?;
    Ok(Draft {
        channel: fields.needed("channelId")?,
        content: fields.needed("content")?,
        message_type: written.unwrap_or_default().into(),
        metadata: fields.optional("metadata")?.unwrap_or_default(),
        parent: fields.optional("parentId")?,
        client_id: fields.optional("clientId")?,
        attachments: fields.optional("attachments")?.unwrap_or_default(),
    })
}
