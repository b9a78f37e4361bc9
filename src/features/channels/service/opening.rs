//! Makes conversations.

use std::collections::BTreeSet;

use super::{Service, count};
use crate::db::PgConnection;
use crate::delivery::outbox;
use crate::domain::ids::{ChannelId, UserId};
use crate::features::accounts;
use crate::features::channels::error::ChannelsError;
use crate::features::channels::events::{self, Inviter};
use crate::features::channels::model::{Channel, Kind, NewChannel, Role};
use crate::features::channels::repository::{self, members};
use crate::features::notifications::Invitations;

impl Service {
    /// Makes a conversation with `creator` in it. Returns it, and whether it is new: two people have one direct
    /// conversation, whoever of them asks for it.
    pub async fn create(&self, creator: UserId, new: NewChannel) -> Result<(Channel, bool), ChannelsError> {
        match new {
            NewChannel::Channel { name, description, is_private } => {
                let draft = self.draft(creator, Kind::Channel, Some(name), description, is_private);
                Ok((self.open(creator, draft, BTreeSet::new()).await?, true))
            }
            NewChannel::Group { name, description, people } => {
                let draft = self.draft(creator, Kind::Group, Some(name), description, true);
                let others = people.into_iter().filter(|user| *user != creator).collect();
                Ok((self.open(creator, draft, others).await?, true))
            }
            NewChannel::Direct { with } => self.open_direct(creator, with).await,
        }
    }

    fn draft(
        &self,
        creator: UserId,
        kind: Kind,
        name: Option<String>,
        description: Option<String>,
        is_private: bool,
    ) -> Channel {
        let now = self.clock.now();
        Channel {
            id: ChannelId::generate(),
            kind,
            name,
            description,
            is_private,
            created_by: Some(creator),
            created_at: now,
            updated_at: now,
            member_count: 0,
            message_count: 0,
            last_seq: 0,
        }
    }

    /// Makes a channel or a group, with these others in it.
    async fn open(
        &self,
        creator: UserId,
        mut channel: Channel,
        others: BTreeSet<UserId>,
    ) -> Result<Channel, ChannelsError> {
        let others: Vec<UserId> = others.into_iter().collect();
        self.count_change(creator).await?;
        self.count_invitations(creator, others.len()).await?;
        let mut tx = self.pool.begin().await?;
        lock_people(&mut tx, creator, &others).await?;
        repository::insert(&mut tx, &channel, None).await?;
        self.take_in(&mut tx, &mut channel, &[creator], Role::Owner).await?;
        self.take_in(&mut tx, &mut channel, &others, Role::Member).await?;
        let name = if others.is_empty() { None } else { accounts::display_name(&mut tx, creator).await? };
        let by = Inviter { id: creator, name: name.as_deref() };
        let invitations = Invitations::to(&mut tx, &others, channel.created_at).await?;
        let invited = others.iter().map(|user| {
            let event = events::invited(&channel, *user, Role::Member, &by, channel.created_at);
            invitations.allow(event)
        });
        let told = invited.chain([events::created(&channel, creator, creator)]).collect();
        let committed = outbox::append(&mut tx, told).await?;
        tx.commit().await?;

        self.dispatcher.dispatch(committed).await;
        invitations.count();
        count("created");
        Ok(channel)
    }

    async fn open_direct(&self, creator: UserId, with: UserId) -> Result<(Channel, bool), ChannelsError> {
        if creator == with {
            return Err(ChannelsError::WithOneself);
        }
        let pair = repository::pair(creator, with);
        // Nearly always it is there already, and nobody is to be locked for that.
        if let Some(channel) = repository::find_direct(&self.pool, pair).await? {
            return Ok((channel, false));
        }
        self.count_invitations(creator, 1).await?;
        let mut tx = self.pool.begin().await?;
        lock_people(&mut tx, creator, &[with]).await?;
        // Only now is it certain: the other one may have made it during the wait.
        if let Some(channel) = repository::find_direct(&mut *tx, pair).await? {
            return Ok((channel, false));
        }
        let mut channel = self.draft(creator, Kind::Direct, None, None, true);
        repository::insert(&mut tx, &channel, Some(pair)).await?;
        self.take_in(&mut tx, &mut channel, &[creator, with], Role::Member).await?;
        let told = [creator, with].map(|user| events::created(&channel, user, creator));
        let committed = outbox::append(&mut tx, told.into()).await?;
        tx.commit().await?;

        self.dispatcher.dispatch(committed).await;
        count("created");
        Ok((channel, true))
    }
}

/// Locks the caller and these others.
async fn lock_people(
    conn: &mut PgConnection,
    caller: UserId,
    others: &[UserId],
) -> Result<(), ChannelsError> {
    let all: Vec<UserId> = others.iter().copied().chain([caller]).collect();
    let found = members::lock_users(conn, &all).await?;
    if !found.contains(&caller) {
        return Err(ChannelsError::NoAccount);
    }
    if found.len() < all.len() { Err(ChannelsError::UnknownUser) } else { Ok(()) }
}
