//! Writes a message, once, however often its client says it.

use super::Service;
use crate::domain::ids::{MessageId, UserId};
use crate::failpoint;
use crate::features::channels::Operation;
use crate::features::messages::error::MessagesError;
use crate::features::messages::model::{Draft, Message, Sent};
use crate::features::messages::repository::sending::{self, Outcome};
use crate::features::messages::{events, mentions, rules};
use crate::telemetry::traces;

/// The first attempt may meet the same message, written at the same moment, or somebody who is taken in just now.
const ATTEMPTS_MAX: u32 = 3;

impl Service {
    /// Writes the message, and tells its conversation. It is committed when this returns.
    pub async fn send(&self, author: UserId, draft: &Draft) -> Result<Sent, MessagesError> {
        rules::check_draft(draft, &self.config)?;
        self.count_write(author, draft.channel).await?;
        let names = mentions::names(&draft.content, self.config.mentions_max);
        for attempt in 0..ATTEMPTS_MAX {
            let sent = sending::send(&self.pool, author, draft, &names, self.clock.now());
            match traces::statement("postgres.messages.send", sent).await {
                Ok(Outcome::Written { message, is_noticed }) => {
                    self.audience.tell(events::created(&message));
                    if is_noticed {
                        failpoint!("before_noticing");
                        self.noticed.notify_one();
                    }
                    metrics::counter!("fanlight_messages_total", "change" => "sent").increment(1);
                    return Ok(Sent::Now(*message));
                }
                Ok(Outcome::Known(message)) => return self.sent_before(message, draft).await,
                // The same message may have taken its files since the statement began to look: the next one sees it.
                Ok(Outcome::NoUpload) if attempt == 0 && draft.client_id.is_some() => {}
                Ok(Outcome::NoUpload) => return Err(MessagesError::UnknownUpload),
                Ok(Outcome::NoThread) => return Err(MessagesError::NotFound),
                // Says why; if there is no reason any more, it is tried again.
                Ok(Outcome::Refused) => self.permit(author, draft.channel, Operation::Send).await?,
                Err(error) if sending::is_sent_twice(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(MessagesError::Unavailable)
    }

    async fn sent_before(&self, message: MessageId, draft: &Draft) -> Result<Sent, MessagesError> {
        let message = self.existing(message).await?;
        if is_another(&message, draft) {
            return Err(MessagesError::KeyReused);
        }
        metrics::counter!("fanlight_messages_total", "change" => "repeated").increment(1);
        Ok(Sent::Before(message))
    }
}

/// Whether the draft cannot be what the message was written from. What was changed since, nobody knows any more.
fn is_another(message: &Message, draft: &Draft) -> bool {
    let is_unchanged = message.edited_at.is_none() && message.deleted_at.is_none();
    let is_same = message.content == draft.content
        && message.message_type == draft.message_type
        && message.attachments.iter().map(|attachment| attachment.id).eq(draft.attachments.iter().copied());
    is_unchanged && !is_same
}
