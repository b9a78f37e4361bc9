//! What happens to a message later: it is edited, deleted, reacted to.
//!
//! Each locks the conversation, decides by what it reads then, and takes its place among all that the conversation saw.

use super::{Service, decide, locked};
use crate::domain::ids::{MessageId, UserId};
use crate::features::channels::{Operation, access_locked};
use crate::features::messages::error::MessagesError;
use crate::features::messages::model::{Change, Edit, Happened, Message};
use crate::features::messages::repository::changing;
use crate::features::messages::{events, mentions, rules};

impl Service {
    /// Replaces the content; only its author does.
    pub async fn edit(
        &self,
        user: UserId,
        message: MessageId,
        edit: &Edit,
    ) -> Result<Message, MessagesError> {
        rules::check_edit(edit, &self.config)?;
        let channel = self.existing(message).await?.channel;
        self.count_write(user, channel).await?;

        let mut tx = self.pool.begin().await?;
        decide(access_locked(&mut tx, user, channel).await?, Operation::Send)?;
        let mut message = locked(&mut tx, message).await?;
        if message.author != Some(user) {
            return Err(MessagesError::Forbidden);
        }
        let is_same = edit.metadata.as_ref().is_none_or(|metadata| *metadata == message.metadata);
        if is_same && edit.content == message.content {
            return Ok(message);
        }
        let at = self.clock.now();
        let names = mentions::names(&edit.content, self.config.mentions_max);
        let before = message.mentions.clone();
        changing::edit(&mut tx, &mut message, edit, &names, at).await?;
        let is_new = |it: &UserId| *it != user && !before.contains(it);
        let newly_mentioned: Vec<UserId> = message.mentions.iter().copied().filter(is_new).collect();
        if !newly_mentioned.is_empty() {
            changing::notice(&mut tx, message.id, &newly_mentioned, at).await?;
        }
        let change = changing::record(&mut tx, &message, user, Happened::Edited, at).await?;
        tx.commit().await?;

        self.tell(&message, &change);
        if !newly_mentioned.is_empty() {
            self.noticed.notify_one();
        }
        metrics::counter!("fanlight_messages_total", "change" => "edited").increment(1);
        Ok(message)
    }

    /// Leaves only that there was a message. Its author does, or who moderates; again, it changes nothing.
    pub async fn delete(&self, user: UserId, message: MessageId) -> Result<(), MessagesError> {
        let known = self.existing(message).await?;
        let operation = if known.author == Some(user) { Operation::Send } else { Operation::Moderate };

        let mut tx = self.pool.begin().await?;
        decide(access_locked(&mut tx, user, known.channel).await?, operation)?;
        let message = match locked(&mut tx, message).await {
            Err(MessagesError::Deleted) => return Ok(()),
            message => message?,
        };
        let at = self.clock.now();
        changing::empty(&mut tx, message.id, at).await?;
        let change = changing::record(&mut tx, &message, user, Happened::Deleted, at).await?;
        tx.commit().await?;

        self.tell(&message, &change);
        metrics::counter!("fanlight_messages_total", "change" => "deleted").increment(1);
        Ok(())
    }

    /// Reacts to a message; again with the same emoji, it changes nothing.
    pub async fn react(&self, user: UserId, message: MessageId, emoji: &str) -> Result<(), MessagesError> {
        let (mut tx, message) = self.begin_reaction(user, message, emoji).await?;
        if message.has_reaction(user, emoji) {
            return Ok(());
        }
        if message.reaction_count() >= self.config.reactions_max {
            return Err(MessagesError::TooManyReactions);
        }
        let at = self.clock.now();
        changing::react(&mut tx, message.id, user, emoji, at).await?;
        let happened = Happened::ReactionAdded(emoji.to_owned());
        let change = changing::record(&mut tx, &message, user, happened, at).await?;
        tx.commit().await?;

        self.tell(&message, &change);
        metrics::counter!("fanlight_messages_total", "change" => "reaction_added").increment(1);
        Ok(())
    }

    /// Takes one's own reaction back; if it is not there, it changes nothing.
    pub async fn take_back(
        &self,
        user: UserId,
        message: MessageId,
        emoji: &str,
    ) -> Result<(), MessagesError> {
        let (mut tx, message) = self.begin_reaction(user, message, emoji).await?;
        if !message.has_reaction(user, emoji) {
            return Ok(());
        }
        changing::take_back(&mut tx, message.id, user, emoji).await?;
        let happened = Happened::ReactionRemoved(emoji.to_owned());
        let change = changing::record(&mut tx, &message, user, happened, self.clock.now()).await?;
        tx.commit().await?;

        self.tell(&message, &change);
        metrics::counter!("fanlight_messages_total", "change" => "reaction_removed").increment(1);
        Ok(())
    }

    async fn begin_reaction(
        &self,
        user: UserId,
        message: MessageId,
        emoji: &str,
    ) -> Result<(sqlx::Transaction<'static, sqlx::Postgres>, Message), MessagesError> {
        rules::check_emoji(emoji)?;
        let channel = self.existing(message).await?.channel;
        self.count_write(user, channel).await?;
        let mut tx = self.pool.begin().await?;
        decide(access_locked(&mut tx, user, channel).await?, Operation::React)?;
        let message = locked(&mut tx, message).await?;
        Ok((tx, message))
    }

    fn tell(&self, message: &Message, change: &Change) {
        self.audience.tell(events::changed(message, change));
    }
}
