//! What clients send: the request bodies and queries, and what is accepted in each field.

use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::ids::{ChannelId, MessageId, UploadId};
use crate::edge::http::paging::page_limit;
use crate::edge::http::{ErrorCode, Problem};
use crate::features::messages::model::{Draft, Edit, MessageType, Metadata, Search, Window};

const SEARCH_CHARS_MAX: usize = 200;

/// What a client may write.
#[derive(Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WrittenType {
    #[default]
    Text,
    Image,
    File,
}

impl From<WrittenType> for MessageType {
    fn from(written: WrittenType) -> Self {
        match written {
            WrittenType::Text => Self::Text,
            WrittenType::Image => Self::Image,
            WrittenType::File => Self::File,
        }
    }
}

/// `POST /messages/`; the spellings `channel_id`, `message_type`, `parent_id` and `client_id` are accepted too. The service
/// holds the fields to its rules, because messages do not only come this way.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct SendMessage {
    #[serde(alias = "channel_id")]
    channel_id: ChannelId,
    /// Not blank; `@username` names a member.
    #[schema(
        min_length = 1,
        max_length = 10_000,
        pattern = r"^[^\u0000]*[^\s\u0000][^\u0000]*$",
        example = "Hello @mia"
    )]
    content: String,
    #[serde(default, alias = "message_type")]
    message_type: WrittenType,
    /// Anything for other clients, of at most 4 KiB.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    metadata: Option<Metadata>,
    /// Any message of the thread to write in; the first begins it.
    #[serde(default, alias = "parent_id")]
    parent_id: Option<MessageId>,
    /// What the client calls the message: the same one sent again is the same message.
    #[serde(default, alias = "client_id")]
    #[schema(min_length = 1, max_length = 128, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    client_id: Option<String>,
    /// Files of mine from `POST /uploads`, each once, that no message has yet.
    #[serde(default)]
    #[schema(value_type = Option<Vec<UploadId>>, max_items = 10)]
    attachments: Option<Vec<UploadId>>,
}

impl SendMessage {
    /// `key` is the `Idempotency-Key`, which `clientId` wins over.
    pub fn draft(self, key: Option<String>) -> Draft {
        Draft {
            channel: self.channel_id,
            content: self.content,
            message_type: self.message_type.into(),
            metadata: self.metadata.unwrap_or_default(),
            parent: self.parent_id,
            client_id: self.client_id.or(key),
            attachments: self.attachments.unwrap_or_default(),
        }
    }
}

/// `PUT /messages/{id}`
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct EditMessage {
    /// Not blank; whom it names is found out anew.
    #[schema(min_length = 1, max_length = 10_000, pattern = r"^[^\u0000]*[^\s\u0000][^\u0000]*$")]
    content: String,
    /// Absent: as it was.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    metadata: Option<Metadata>,
}

impl From<EditMessage> for Edit {
    fn from(body: EditMessage) -> Self {
        Self { content: body.content, metadata: body.metadata }
    }
}

/// `POST /channels/{id}/read`
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct MarkRead {
    /// The last message that I have read.
    #[serde(alias = "message_id")]
    pub message_id: MessageId,
}

/// `?before=&after=&limit=`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Only messages before this one. Without either, the newest.
    before: Option<MessageId>,
    /// Only messages after this one, reading on from there.
    after: Option<MessageId>,
    /// 50 when absent.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

impl PageQuery {
    /// # Errors
    /// 400 when the limit is not within 1..100.
    pub fn window(&self) -> Result<Window, Problem> {
        Ok(Window { after: self.after, before: self.before, limit: page_limit(self.limit)? })
    }
}

/// `GET /messages/search?q=&channelId=&before=&limit=`
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// Words that a message holds; `"so many words"` behind each other, `or`, and `-without`.
    #[param(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
    )]
    q: String,
    /// Only in this conversation; without it, in all that I am in.
    #[serde(alias = "channel_id")]
    channel_id: Option<ChannelId>,
    /// The `next` of the page before.
    before: Option<MessageId>,
    /// 50 when absent.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

impl SearchQuery {
    /// # Errors
    /// 400 for a text that cannot be looked for, or a limit that is not within 1..100.
    pub fn search(self) -> Result<Search, Problem> {
        let text = self.q.trim();
        let is_text = (1..=SEARCH_CHARS_MAX).contains(&text.chars().count());
        if !is_text || text.chars().any(char::is_control) {
            let rule = format!("q: 1..{SEARCH_CHARS_MAX} printable characters");
            return Err(Problem::new(ErrorCode::BadParameter).detail(rule));
        }
        let limit = page_limit(self.limit)?;
        Ok(Search { text: text.to_owned(), channel: self.channel_id, before: self.before, limit })
    }
}
