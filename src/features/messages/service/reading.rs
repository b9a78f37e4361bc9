//! Shows messages: part by part, a thread, what a search finds; and how far somebody has read.

use super::{Service, decide};
use crate::delivery::event::NewEvent;
use crate::delivery::outbox;
use crate::domain::ids::{ChannelId, MessageId, UserId};
use crate::edge::http::paging::{cut, one_more};
use crate::features::channels::{Operation, access};
use crate::features::messages::error::MessagesError;
use crate::features::messages::events::{self, SelfReadMarker};
use crate::features::messages::model::{Marker, Page, Search, Window};
use crate::features::messages::repository::paging::{self, Bounds, Direction, Of};
use crate::features::messages::repository::reading;
use crate::features::messages::repository::searching::{self, Cost};
use crate::features::notifications::settle_read;
use crate::telemetry::traces;

impl Service {
    /// A part of a conversation, in order: without bounds the newest.
    pub async fn page(
        &self,
        user: UserId,
        channel: ChannelId,
        window: Window,
    ) -> Result<Page, MessagesError> {
        self.permit(user, channel, Operation::Read).await?;
        self.part(channel, Of::Channel(channel), window).await
    }

    /// A part of the replies to a message, in order; of a reply, those of its thread.
    pub async fn thread(
        &self,
        user: UserId,
        message: MessageId,
        window: Window,
    ) -> Result<Page, MessagesError> {
        let message = self.find(user, message).await?;
        let thread = message.parent.unwrap_or(message.id);
        self.part(message.channel, Of::Thread(thread), window).await
    }

    /// What of the user's conversations matches, the newest first.
    pub async fn search(&self, user: UserId, search: &Search) -> Result<Page, MessagesError> {
        self.count(&format!("message_search:{user}"), self.config.searches(), "message_search").await?;
        if let Some(channel) = search.channel {
            self.permit(user, channel, Operation::Read).await?;
        }
        let cost = Cost {
            matches_max: self.config.search_matches_max.into(),
            recent_max: self.config.search_recent_max.into(),
        };
        let limit = one_more(search.limit);
        let mut messages = searching::search(&self.pool, user, search, cost, limit).await?;
        let has_more = cut(&mut messages, search.limit);
        let next = messages.last().filter(|_| has_more).map(|message| message.id);
        Ok(Page { messages, next })
    }

    /// How far the user has read the conversation.
    pub async fn marker(&self, user: UserId, channel: ChannelId) -> Result<Marker, MessagesError> {
        self.permit(user, channel, Operation::Read).await?;
        reading::marker(&self.pool, channel, user).await?.ok_or(MessagesError::Forbidden)
    }

    /// Moves the user's marker to a message of the conversation, never backwards; tells the others, and the user's own
    /// devices.
    pub async fn mark_read(
        &self,
        user: UserId,
        channel: ChannelId,
        message: MessageId,
    ) -> Result<Marker, MessagesError> {
        self.count(&format!("message_read:{user}:{channel}"), self.config.reads(), "message_read").await?;
        let mut tx = self.pool.begin().await?;
        decide(access(&mut *tx, user, channel).await?, Operation::Read)?;
        let seq = paging::seq(&mut *tx, channel, message).await?.ok_or(MessagesError::NotFound)?;
        let moved = reading::advance(&mut *tx, channel, user, seq).await?;
        // Taken out at this moment.
        let marker = reading::marker(&mut *tx, channel, user).await?.ok_or(MessagesError::Forbidden)?;
        if !moved {
            return Ok(marker);
        }
        // No phone is to be woken any more for what has been read.
        let began = traces::now();
        let settled = settle_read(&mut tx, user, channel, seq).await?;
        let at = self.clock.now();
        let told = NewEvent::new(user, &SelfReadMarker::new(channel, marker, at));
        let committed = outbox::append(&mut tx, vec![told]).await?;
        tx.commit().await?;

        for event in settled {
            event.tell(began);
        }
        let (kind, frame) = events::read(channel, user, marker, at);
        self.audience.tell_in_passing(channel, kind, frame);
        self.dispatcher.dispatch(committed).await;
        Ok(marker)
    }

    /// What the window shows, in order.
    async fn part(&self, channel: ChannelId, of: Of, window: Window) -> Result<Page, MessagesError> {
        let bounds = self.bounds(channel, window).await?;
        let direction = if window.after.is_some() { Direction::Forwards } else { Direction::Backwards };
        let mut messages = paging::part(&self.pool, of, bounds, direction, one_more(window.limit)).await?;
        let has_more = cut(&mut messages, window.limit);
        // The one that was read last: from there it goes on.
        let next = messages.last().filter(|_| has_more).map(|message| message.id);
        if direction == Direction::Backwards {
            messages.reverse();
        }
        Ok(Page { messages, next })
    }

    /// The places of the messages that bound the window.
    async fn bounds(&self, channel: ChannelId, window: Window) -> Result<Bounds, MessagesError> {
        let after = self.place(channel, window.after).await?.unwrap_or(0);
        let before = self.place(channel, window.before).await?.unwrap_or(i64::MAX);
        Ok(Bounds { after, before })
    }

    async fn place(
        &self,
        channel: ChannelId,
        message: Option<MessageId>,
    ) -> Result<Option<i64>, MessagesError> {
        let Some(message) = message else { return Ok(None) };
        paging::seq(&self.pool, channel, message).await?.map(Some).ok_or(MessagesError::NotFound)
    }
}
