//! What the absent are told. Names, but nothing of what was written: a push is shown on a locked screen, and FCM reads it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::DateTime;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::uuid;

use crate::db::PgConnection;
use crate::delivery::described;
use crate::delivery::event::{Event, NewEvent, PushContent};
use crate::delivery::outbox::{self, Seen};
use crate::delivery::outcome::Settled;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChannelId, MessageId, UserId};
use crate::features::notifications::decision::Cause;

/// Who was called, or written to, wants to know after a weekend, too.
const TTL: Duration = Duration::from_hours(72);
/// That there was something to read yesterday is no news.
const ACTIVITY_TTL: Duration = Duration::from_hours(24);

/// In the data of a push: which message it is about.
const MESSAGE_SEQ: &str = "messageSeq";

described::events!(pub(in crate::features) fn events: Mentioned<'_>, DirectMessage<'_>, ChannelActivity<'_>);

/// To all devices of somebody whom a message of a channel or group names.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Mentioned<'a> {
    channel_id: ChannelId,
    channel_name: &'a str,
    /// The newest message that names the receiver.
    message_id: MessageId,
    /// Its place in the channel.
    message_seq: i64,
    /// Its author; null if that account was deleted.
    #[schema(required)]
    user_id: Option<UserId>,
    /// What others wrote in the channel that the receiver has not read.
    unread_count: i64,
    /// When it was decided to tell, epoch ms.
    timestamp: i64,
    #[serde(skip)]
    author_name: Option<&'a str>,
}

/// To all devices of somebody who was written to.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DirectMessage<'a> {
    channel_id: ChannelId,
    /// The newest message.
    message_id: MessageId,
    message_seq: i64,
    #[schema(required)]
    user_id: Option<UserId>,
    unread_count: i64,
    /// When it was decided to tell, epoch ms.
    timestamp: i64,
    #[serde(skip)]
    author_name: Option<&'a str>,
}

/// To all devices of somebody who wants to know of every message of a channel or group.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChannelActivity<'a> {
    channel_id: ChannelId,
    channel_name: &'a str,
    /// The newest message.
    message_id: MessageId,
    message_seq: i64,
    #[schema(required)]
    user_id: Option<UserId>,
    unread_count: i64,
    /// When it was decided to tell, epoch ms.
    timestamp: i64,
}

impl<'a> Mentioned<'a> {
    fn of(told: &Telling<'a>) -> Self {
        Self {
            channel_id: told.channel,
            channel_name: told.channel_name.unwrap_or_default(),
            message_id: told.message,
            message_seq: told.message_seq,
            user_id: told.author,
            unread_count: told.unread_count,
            timestamp: told.at.timestamp_millis(),
            author_name: told.author_name,
        }
    }
}

impl Event for Mentioned<'_> {
    const KIND: &'static str = "MENTIONED";
    const TTL: Duration = TTL;

    fn push(&self) -> Option<PushContent> {
        let actor = self.author_name.map(|name| ("actor".to_owned(), name.to_owned()));
        Some(PushContent {
            text: "mentioned".to_owned(),
            args: actor.into_iter().chain([("name".to_owned(), self.channel_name.to_owned())]).collect(),
            data: data(self.channel_id, self.message_id, self.message_seq, self.user_id),
            collapse_key: collapse_key(Cause::Mention, self.channel_id),
        })
    }

    fn example() -> Self {
        Self::of(&Telling::example())
    }
}

impl<'a> DirectMessage<'a> {
    fn of(told: &Telling<'a>) -> Self {
        Self {
            channel_id: told.channel,
            message_id: told.message,
            message_seq: told.message_seq,
            user_id: told.author,
            unread_count: told.unread_count,
            timestamp: told.at.timestamp_millis(),
            author_name: told.author_name,
        }
    }
}

impl Event for DirectMessage<'_> {
    const KIND: &'static str = "DIRECT_MESSAGE";
    const TTL: Duration = TTL;

    fn push(&self) -> Option<PushContent> {
        let actor = self.author_name.map(|name| ("actor".to_owned(), name.to_owned()));
        let count = ("count".to_owned(), self.unread_count.to_string());
        Some(PushContent {
            text: text_of("direct_message", self.unread_count),
            args: actor.into_iter().chain([count]).collect(),
            data: data(self.channel_id, self.message_id, self.message_seq, self.user_id),
            collapse_key: collapse_key(Cause::Direct, self.channel_id),
        })
    }

    fn example() -> Self {
        Self::of(&Telling::example())
    }
}

impl<'a> ChannelActivity<'a> {
    fn of(told: &Telling<'a>) -> Self {
        Self {
            channel_id: told.channel,
            channel_name: told.channel_name.unwrap_or_default(),
            message_id: told.message,
            message_seq: told.message_seq,
            user_id: told.author,
            unread_count: told.unread_count,
            timestamp: told.at.timestamp_millis(),
        }
    }
}

impl Event for ChannelActivity<'_> {
    const KIND: &'static str = "CHANNEL_ACTIVITY";
    const TTL: Duration = ACTIVITY_TTL;

    fn push(&self) -> Option<PushContent> {
        let name = ("name".to_owned(), self.channel_name.to_owned());
        let count = ("count".to_owned(), self.unread_count.to_string());
        Some(PushContent {
            text: text_of("channel_activity", self.unread_count),
            args: BTreeMap::from([name, count]),
            data: data(self.channel_id, self.message_id, self.message_seq, self.user_id),
            collapse_key: collapse_key(Cause::All, self.channel_id),
        })
    }

    fn example() -> Self {
        Self::of(&Telling::example())
    }
}

/// A text for one, and one for many.
fn text_of(key: &str, count: i64) -> String {
    format!("{key}.{}", if count == 1 { "one" } else { "many" })
}

fn data(
    channel: ChannelId,
    message: MessageId,
    message_seq: i64,
    actor: Option<UserId>,
) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("channelId".to_owned(), channel.to_string()),
        ("messageId".to_owned(), message.to_string()),
        (MESSAGE_SEQ.to_owned(), message_seq.to_string()),
        // Empty if that account was deleted: FCM carries no null.
        ("actorId".to_owned(), actor.map(|actor| actor.to_string()).unwrap_or_default()),
    ])
}

/// Settles what the user was told of messages that they have read now, so that no phone is woken for it any more: inside
/// the transaction in which they read, before it appends.
///
/// # Errors
/// When Postgres does not answer.
pub async fn settle_read(
    conn: &mut PgConnection,
    user: UserId,
    channel: ChannelId,
    read_to: i64,
) -> Result<Vec<Settled>, sqlx::Error> {
    let collapse_keys = Cause::ALL.map(|cause| collapse_key(cause, channel));
    let seen = Seen { user, collapse_keys: &collapse_keys, field: MESSAGE_SEQ, up_to: read_to };
    outbox::settle_seen(conn, &seen).await
}

/// On a phone there is one notification of each cause for a conversation, the newest. That somebody was named is not
/// replaced by what is said later.
fn collapse_key(cause: Cause, channel: ChannelId) -> String {
    format!("{}.{channel}", cause.as_str())
}

/// What is told, and of which message.
pub struct Telling<'a> {
    pub cause: Cause,
    pub channel: ChannelId,
    pub channel_name: Option<&'a str>,
    pub message: MessageId,
    pub message_seq: i64,
    pub author: Option<UserId>,
    pub author_name: Option<&'a str>,
    pub unread_count: i64,
    pub at: Timestamp,
}

impl Telling<'_> {
    /// For the documents.
    fn example() -> Self {
        Self {
            cause: Cause::Mention,
            channel: described::example_channel(),
            channel_name: Some("general"),
            message: MessageId(uuid!("0193a5c0-0000-7000-8000-0000000000d1")),
            message_seq: 41,
            author: Some(described::example_user()),
            author_name: Some("Mia"),
            unread_count: 3,
            at: DateTime::from_timestamp_millis(described::EXAMPLE_MS).unwrap_or_default(),
        }
    }

    pub fn to(&self, receiver: UserId) -> NewEvent {
        match self.cause {
            Cause::Mention => NewEvent::new(receiver, &Mentioned::of(self)),
            Cause::Direct => NewEvent::new(receiver, &DirectMessage::of(self)),
            Cause::All => NewEvent::new(receiver, &ChannelActivity::of(self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::texts;

    #[test]
    fn pushes_name_who_and_where_in_every_language() {
        let mentioned = Mentioned::example().push().unwrap();
        let direct = DirectMessage::example().push().unwrap();
        let one = DirectMessage { unread_count: 1, ..DirectMessage::example() }.push().unwrap();
        let activity = ChannelActivity::example().push().unwrap();
        let general = texts::render("generic", &BTreeMap::new(), "en").body;
        for language in ["en", "es", "da", "vi"] {
            let text = |push: &PushContent| texts::render(&push.text, &push.args, language);
            assert_eq!(text(&mentioned).title, "general");
            assert!(text(&mentioned).body.contains("Mia"));
            assert_eq!((text(&direct).title, text(&activity).title), ("Mia".into(), "general".into()));
            assert!(text(&direct).body.contains('3') && text(&activity).body.contains('3'));
            assert!(!text(&one).body.contains('1') && text(&one).body != general);
        }
        for push in [mentioned, direct, activity] {
            assert!(push.collapse_key.len() <= 64, "APNs refuses a longer one");
            let keys: Vec<_> = push.data.keys().map(String::as_str).collect();
            assert_eq!(keys, ["actorId", "channelId", "messageId", "messageSeq"]);
        }
    }
}
